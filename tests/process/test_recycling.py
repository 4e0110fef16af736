"""Workers that are replaced because they are worn: nothing is lost or run again, and the stream does not stop."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeframe_async import Failure, PipeFrame, PipelineEngine
from pipeframe_async.testing import procfs

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not procfs.AVAILABLE, reason="a worker's memory is read from /proc"),
]

MIB = 2**20
MAX_RSS = 160 * MIB
LEAK = 2 * MIB
"""A record. With batches of 5 a worker is worn after about a dozen of them."""

leaked: list[bytes] = []


class Done(NamedTuple):
    """A result: which worker made it when, and how much memory it had."""

    number: int
    pid: int
    at: float
    rss: int


def leaks_some(record: int) -> tuple[int, bool]:
    leaked.append(b"x" * LEAK)
    return record, True


def leaks_for_ever(record: int) -> tuple[int, bool]:
    while record == 7:
        leaked.append(b"x" * MIB)
        time.sleep(0.001)
    return record, True


def takes_all_and_keeps_it(record: int) -> tuple[int, bool]:
    if record == 7:
        time.sleep(0.1)  # seen by then, and not long at work yet
        leaked.append(b"x" * MAX_RSS)
        time.sleep(1000)
    return record, True


def waits_a_bit(record: int) -> tuple[int, bool]:
    time.sleep(0.002)
    return record, True


def done(record: int) -> tuple[Done, bool]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Done(record, os.getpid(), time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE")), True


class Worn(PipelineEngine[int, Done]):
    """Counts, and keeps what comes out."""

    steps = (leaks_some, done)
    batch_size: int | None = 5

    def __init__(self, n: int) -> None:
        self.n = n
        self.taken: list[Done] = []
        self.failures: list[Failure[int]] = []

    async def feed(self) -> AsyncIterator[int]:
        for i in range(self.n):
            yield i

    async def sink(self, records: list[Done]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.failures += failures

    @property
    def workers(self) -> Counter[int]:
        """Results by the worker that made them."""
        return Counter(result.pid for result in self.taken)


class Steady(Worn):
    steps = (waits_a_bit, done)


class Noted(Steady):
    """Writes down when a worker comes and goes; going takes its time, and the first one waits for its successor too."""

    def __init__(self, n: int, log: Path, seconds: float = 0.0) -> None:
        super().__init__(n)
        self.log, self.seconds = str(log), seconds

    def setup(self) -> None:
        self.note("setup")

    def teardown(self) -> None:
        self.note("teardown")
        until = time.monotonic() + 10
        while (
            self.seconds and len(self.notes("setup")) == len(self.notes("teardown")) == 1 and time.monotonic() < until
        ):
            time.sleep(0.02)
        time.sleep(self.seconds)
        self.note("gone")

    def note(self, word: str) -> None:
        with open(self.log, "a") as file:
            file.write(f"{word} {os.getpid()} {time.monotonic()}\n")

    def notes(self, word: str) -> dict[int, float]:
        """When each worker wrote this."""
        lines = [line.split() for line in Path(self.log).read_text().splitlines()]
        return {int(pid): float(at) for said, pid, at in lines if said == word}


def numbers(results: list[Done]) -> list[int]:
    return [result.number for result in results]


@pytest.mark.parametrize("lanes", [1, 2])
async def test_a_step_that_leaks_costs_workers_and_no_record(lanes: int) -> None:
    pipeline = Worn(400)
    report = await PipeFrame(lanes, max_worker_rss=MAX_RSS).run(pipeline)
    assert numbers(pipeline.taken) == list(range(400))
    assert (report.failed, report.re_executed) == (0, 0)
    assert len(pipeline.workers) >= 4
    # What a worker may have more: the batch it was at, the one that waited in its pipe, and the interpreter's slack.
    assert max(result.rss for result in pipeline.taken) <= MAX_RSS + 2 * 5 * LEAK + 16 * MIB


@pytest.mark.parametrize("leaks", [leaks_for_ever, takes_all_and_keeps_it])
async def test_one_record_that_takes_too_much_is_a_failure_and_its_mates_are_not(leaks: Any) -> None:
    pipeline = type("Leaking", (Worn,), {"steps": (leaks, done)})(50)
    async with asyncio.timeout(20):
        report = await PipeFrame(2, max_worker_rss=MAX_RSS).run(pipeline)
    assert numbers(pipeline.taken) == [n for n in range(50) if n != 7]
    [failure] = pipeline.failures
    assert (failure.record, failure.kind, failure.step) == (7, "crashed", leaks.__name__)
    assert "max_worker_rss" in str(failure)
    assert report.failed == 1


async def test_a_worker_takes_no_more_batches_than_it_may() -> None:
    pipeline = Steady(150)
    report = await PipeFrame(1, max_worker_batches=3).run(pipeline)
    assert numbers(pipeline.taken) == list(range(150))
    assert (report.failed, report.re_executed) == (0, 0)
    assert set(pipeline.workers.values()) == {3 * 5}


async def test_the_batches_of_all_runs_on_a_warm_frame_count() -> None:
    async with PipeFrame(1, max_worker_batches=3) as frame:
        runs = [Steady(10) for _ in range(6)]  # two batches each
        for run in runs:
            await frame.run(run)
    assert all(numbers(run.taken) == list(range(10)) for run in runs)
    assert sum((run.workers for run in runs), Counter()) == dict.fromkeys(
        {r.pid for run in runs for r in run.taken}, 15
    )


async def test_teardown_runs_where_a_worker_is_replaced(tmp_path: Path) -> None:
    pipeline = Noted(100, tmp_path / "log")
    await PipeFrame(2, max_worker_batches=2).run(pipeline)
    assert numbers(pipeline.taken) == list(range(100))
    assert len(pipeline.workers) >= 10
    assert pipeline.notes("setup").keys() == pipeline.notes("gone").keys() >= pipeline.workers.keys()


@pytest.mark.parametrize("lanes", [1, 2])
async def test_a_worker_that_is_replaced_holds_nobody_up(lanes: int, tmp_path: Path) -> None:
    """While one worker takes its time to go, its successor and the other lane's worker deliver."""
    pipeline = Noted(200 * lanes, tmp_path / "log", seconds=0.5)
    pipeline.batch_size = 5
    await PipeFrame(lanes, max_worker_batches=8).run(pipeline)
    assert numbers(pipeline.taken) == list(range(200 * lanes))
    begun, gone = pipeline.notes("teardown"), pipeline.notes("gone")
    first = min(begun, key=lambda pid: begun[pid])
    meanwhile = {r.pid for r in pipeline.taken if begun[first] < r.at < gone[first]}
    assert len(meanwhile - {first}) >= 1


def hangs() -> None:
    time.sleep(1000)


class Stuck(Steady):
    """Never gets through its teardown."""

    def teardown(self) -> None:
        hangs()


async def test_a_teardown_that_hangs_at_a_replacement_is_cut_short() -> None:
    pipeline = Stuck(60)
    async with asyncio.timeout(20):
        try:
            await PipeFrame(1, max_worker_batches=4, drain_timeout=0.5).run(pipeline)
        except Exception as error:
            assert "teardown" in str(error), error  # noqa: PT017 - it may be told, not how
    assert numbers(pipeline.taken) == list(range(60))


async def test_a_limit_below_what_a_worker_needs_replaces_it_after_each_batch() -> None:
    pipeline = Steady(30)
    report = await PipeFrame(1, max_worker_rss=1).run(pipeline)
    assert numbers(pipeline.taken) == list(range(30))
    assert (report.failed, report.re_executed) == (0, 0)
    # One batch after which it is worn, and the one that waited in its pipe meanwhile.
    assert set(pipeline.workers.values()) <= {5, 10}
