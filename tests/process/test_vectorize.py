"""Vectorized steps in real workers: of a call that dies or takes too long the one record that is to blame is found."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import Failure, PipeFrame, PipelineEngine, apply, expand, vectorize

pytest.importorskip("resource", reason="the faults are those of a POSIX system")

from tests.process.faults import FAULTS, Bad, act

pytestmark = [pytest.mark.process, pytest.mark.one_loop]  # all of it happens in workers

SIZE = 16
COUNT = 4 * SIZE
LIMIT = 0.3


def meets(records: list[Any]) -> list[Any]:
    """What a function of many does that has a bad one among them."""
    for record in records:
        act(record)
    return records


class Noted(PipelineEngine[Any, Any]):
    """Writes down which records are begun, and how many each call has."""

    batch_size: int | None = COUNT

    def __init__(self, log: Path, records: list[Any], does: Callable[[list[Any]], list[Any]] = meets) -> None:
        self.log = str(log)
        self.records = records
        self.does = does
        self.taken: list[Any] = []
        self.failures: list[Failure[Any]] = []
        self.steps = [apply(self.begin), vectorize(self.many, SIZE)]

    def begin(self, record: Any) -> Any:
        self._write(f"begun {record if isinstance(record, int) else 'bad'}")
        return record

    def many(self, records: list[Any]) -> list[Any]:
        self._write(f"call {len(records)}")
        return self.does(records)

    def _write(self, text: str) -> None:
        with open(self.log, "a") as file:
            file.write(f"{text}\n")

    async def feed(self) -> AsyncIterator[Any]:
        for record in self.records:
            yield record

    async def sink(self, records: list[Any]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures

    def noted(self, what: str) -> list[str]:
        lines = Path(self.log).read_text().splitlines()
        return [rest for word, _, rest in (line.partition(" ") for line in lines) if word == what]


def with_bad(name: str, *places: int) -> list[Any]:
    return [Bad(name) if n in places else n for n in range(COUNT)]


def good(records: list[Any]) -> list[int]:
    return [record for record in records if isinstance(record, int)]


@pytest.mark.parametrize(("name", "at"), [("os._exit(7)", 0), ("segfault", COUNT - 1), ("SIGKILL", SIZE + 13)])
async def test_the_record_that_kills_is_found_and_the_others_are_delivered_in_order(
    name: str, at: int, tmp_path: Path
) -> None:
    pipeline = Noted(tmp_path / "log", with_bad(name, at))
    report = await PipeFrame(1).run(pipeline)
    [failure] = pipeline.failures
    assert (failure.kind, failure.step, failure.record) == ("crashed", "many", Bad(name))
    assert pipeline.taken == good(pipeline.records)
    begun = Counter(pipeline.noted("begun"))
    assert report.re_executed == sum(begun.values()) - len(begun)
    tries = failure.attempts  # alone, where it may have been somebody else's deed more often
    assert report.worker_restarts <= ceil(log2(SIZE)) + tries


@pytest.mark.parametrize("name", ["sleeps for ever", "holds the GIL"])
async def test_a_call_that_takes_too_long_is_halved_until_one_record_does(name: str, tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad(name, SIZE + 13))
    pipeline.time_limit = LIMIT
    report = await PipeFrame(1).run(pipeline)
    [failure] = pipeline.failures
    assert (failure.kind, failure.step, failure.record) == ("timeout", "many", Bad(name))
    assert (FAULTS[name].trace or "") in failure.traceback
    assert pipeline.taken == good(pipeline.records)
    begun = Counter(pipeline.noted("begun"))
    assert report.re_executed == sum(begun.values()) - len(begun)


async def test_calls_before_one_that_takes_too_long_are_not_made_again(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad("sleeps for ever", COUNT - 1))
    pipeline.time_limit = LIMIT
    await PipeFrame(1).run(pipeline)
    begun = Counter(pipeline.noted("begun"))
    assert {begun[str(n)] for n in range(COUNT - SIZE)} == {1}


def takes(seconds: float, records: list[Any]) -> list[Any]:
    time.sleep(seconds)
    return records


async def test_the_limit_is_of_a_call_and_not_of_its_batch(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", [*range(COUNT)], partial(takes, 0.6 * LIMIT))
    pipeline.time_limit = LIMIT
    report = await PipeFrame(1).run(pipeline)
    assert (report.failed, report.worker_restarts, pipeline.taken) == (0, 0, pipeline.records)


def takes_each(seconds: float, records: list[Any]) -> list[Any]:
    return takes(seconds * len(records), records)


async def test_calls_that_take_too_long_together_are_made_in_parts_and_nobody_fails(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", [*range(SIZE)], partial(takes_each, 2 * LIMIT / SIZE))
    pipeline.time_limit = LIMIT
    report = await PipeFrame(1).run(pipeline)
    assert (report.failed, report.worker_restarts, pipeline.taken) == (0, 1, pipeline.records)


async def test_a_death_behind_a_call_is_that_of_the_record_there(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad("os._exit(7)", SIZE + 13), list)
    pipeline.steps = [*pipeline.steps, act]
    report = await PipeFrame(1).run(pipeline)
    [failure] = pipeline.failures
    assert (failure.kind, failure.step, failure.record) == ("crashed", "act", Bad("os._exit(7)"))
    assert (pipeline.taken, report.worker_restarts) == (good(pipeline.records), 2)
    begun = Counter(pipeline.noted("begun"))
    assert report.re_executed == sum(begun.values()) - len(begun)


async def test_a_child_that_kills_a_call_costs_its_record_and_no_other(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad("os._exit(7)", SIZE + 13))
    begin, many = pipeline.steps
    pipeline.steps = [begin, expand(twice), many]
    await PipeFrame(1).run(pipeline)
    assert [failure.record for failure in pipeline.failures] == [Bad("os._exit(7)")]
    assert pipeline.taken == [record for record in good(pipeline.records) for _ in range(2)]


def twice(record: Any) -> tuple[Any, Any]:
    return record, record


async def test_somebody_else_may_kill_workers_in_calls_and_nobody_is_to_blame(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", [*range(COUNT)], partial(takes, 0.05))
    pipeline.batch_size = SIZE
    frame = PipeFrame(2)
    async with frame:
        running = asyncio.create_task(frame.run(pipeline))
        for _ in range(3):
            while not (pids := [worker.pid for worker in frame.stats().workers if worker.pid]):
                await asyncio.sleep(0.01)
            os.kill(pids[0], signal.SIGKILL)
            await asyncio.sleep(0.1)
        report = await running
    assert (report.failed, pipeline.taken) == (0, pipeline.records)


async def test_batches_grow_to_the_size_of_a_call_and_one_record_is_a_call_by_itself(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", [*range(10 * SIZE)], partial(takes, 0.02))
    pipeline.batch_size = None
    async with PipeFrame(1) as frame:
        await frame.run(pipeline)
        assert int(pipeline.noted("call")[0]) == 1
        assert Counter(pipeline.noted("call"))[str(SIZE)] >= 8
        assert await frame.call(pipeline, 7) == 7
    assert pipeline.noted("call")[-1] == "1"
