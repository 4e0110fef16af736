"""Records that wait behind a slow one, in real workers: they go to a lane that has nothing to do, and run once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine, vectorize

pytest.importorskip("resource", reason="one of them is killed")
pytestmark = [pytest.mark.process, pytest.mark.one_loop]  # all of it happens in workers

BATCH = 60
SLOW = BATCH + 3
"""The fourth record of the second batch."""


class Marks(PipelineEngine[Any, Any]):
    """Writes down each record that it begins; one waits until the others of its batch are done, or for long."""

    source = "stream"
    order: Any = "completion"
    batch_size = BATCH
    max_failures = None

    def __init__(self, log: Path) -> None:
        self.log = str(log)
        self.taken: list[Any] = []
        self.dead: list[Any] = []
        self.steps = [self.mark]

    def mark(self, record: int) -> tuple[int, bool]:
        with open(self.log, "a") as file:
            file.write(f"{record} {os.getpid()}\n")
        if record == SLOW:
            self.is_slow()
        time.sleep(0.002)
        return record, True

    def is_slow(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and len(begun(Path(self.log))) < 2 * BATCH:
            time.sleep(0.01)

    def sink(self, records: list[Any]) -> None:
        self.taken += records

    def dead_letter(self, failures: list[Any]) -> None:
        self.dead += failures


def begun(log: Path) -> Counter[int]:
    return Counter(int(line.split()[0]) for line in log.read_text().splitlines())


def workers(log: Path) -> dict[int, str]:
    """Who has begun each."""
    return {int(record): pid for record, pid in (line.split() for line in log.read_text().splitlines())}


async def test_its_mates_are_done_elsewhere_while_it_is_under_way(tmp_path: Path) -> None:
    pipeline = Marks(tmp_path / "marks")
    async with PipeFrame(2) as frame:
        await frame.run(pipeline, range(BATCH))  # workers are there, and the chain knows its pace
        pipeline.taken.clear()
        (tmp_path / "marks").unlink()
        report = await frame.run(pipeline, range(2 * BATCH))
    assert sorted(pipeline.taken) == list(range(2 * BATCH))
    assert begun(tmp_path / "marks") == dict.fromkeys(range(2 * BATCH), 1)
    assert report.re_executed == 0
    where = workers(tmp_path / "marks")
    assert where[2 * BATCH - 1] != where[SLOW]  # which would wait for it all its time otherwise


async def test_order_is_kept(tmp_path: Path) -> None:
    pipeline = Marks(tmp_path / "marks")
    pipeline.order = "input"
    report = await PipeFrame(2).run(pipeline, range(2 * BATCH))
    assert pipeline.taken == list(range(2 * BATCH))
    assert report.delivered == 2 * BATCH


class Dies(Marks):
    def is_slow(self) -> None:
        super().is_slow()
        os.kill(os.getpid(), signal.SIGKILL)


async def test_a_slow_record_that_kills_its_worker_costs_itself(tmp_path: Path) -> None:
    pipeline = Dies(tmp_path / "marks")
    report = await PipeFrame(2).run(pipeline, range(2 * BATCH))
    assert sorted(pipeline.taken) == [record for record in range(2 * BATCH) if record != SLOW]
    assert [failure.record for failure in pipeline.dead] == [SLOW]
    assert (report.delivered, report.failed) == (2 * BATCH - 1, 1)


class FansOut(Marks):
    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.steps = [self.mark, self.many]

    def many(self, record: int) -> Iterator[tuple[int, bool]]:
        for child in range(70 if record == SLOW else 2):
            yield 100 * record + child, True


async def test_a_long_fan_out_may_follow(tmp_path: Path) -> None:
    pipeline = FansOut(tmp_path / "marks")
    report = await PipeFrame(2, buffer_size=2 * BATCH).run(pipeline, range(2 * BATCH))
    assert sorted(pipeline.taken) == sorted(
        100 * record + child for record in range(2 * BATCH) for child in range(70 if record == SLOW else 2)
    )
    assert report.fed == 2 * BATCH
    assert begun(tmp_path / "marks") == dict.fromkeys(range(2 * BATCH), 1)


async def test_a_stream_that_is_left_takes_what_was_moved_along(tmp_path: Path) -> None:
    pipeline = Marks(tmp_path / "marks")
    async with PipeFrame(2) as frame:
        async with frame.stream(pipeline, range(2 * BATCH)) as results:
            taken = [await anext(results) for _ in range(BATCH + 1)]
        assert len(taken) == len(set(taken))
        await asyncio.sleep(0)
        assert frame.stats().in_flight == 0


class Together(Marks):
    """Records of a call are marked at once."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.steps = [vectorize(self.mark_all, size=BATCH)]

    def mark_all(self, records: list[int]) -> list[int]:
        with open(self.log, "a") as file:
            file.writelines(f"{record} {os.getpid()}\n" for record in records)
        time.sleep(0.0005 * len(records))
        if SLOW_CALL in records:
            self.is_slow()
        return records

    def is_slow(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and len(begun(Path(self.log))) < CALLS * BATCH - 1:
            time.sleep(0.01)


CALLS = 20
SLOW_CALL = 12 * BATCH + 3


async def test_a_call_of_many_records_that_waits_behind_a_slow_one_is_parted_before_it_begins(tmp_path: Path) -> None:
    pipeline = Together(tmp_path / "marks")
    async with PipeFrame(2) as frame:
        await frame.run(pipeline, range(SLOW_CALL))  # the chain knows its pace, and batches wait in their workers
        pipeline.taken.clear()
        (tmp_path / "marks").unlink()
        report = await frame.run(pipeline, range(CALLS * BATCH))
    assert sorted(pipeline.taken) == list(range(CALLS * BATCH))
    assert begun(tmp_path / "marks") == dict.fromkeys(range(CALLS * BATCH), 1)
    assert report.re_executed == 0
