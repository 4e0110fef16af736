"""`time_limit`: what hangs is killed in time, also in C code, and costs none of its batch-mates anything."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import Failure, PipeFrame, PipelineEngine

pytest.importorskip("resource", reason="the faults are those of a POSIX system")

from tests.process.faults import FAULTS, Bad, act

pytestmark = pytest.mark.process

LIMIT = 0.3
GRACE = 0.25
"""Seconds after its limit by which a record must have lost its worker."""

SIZE = 65
BAD_AT = 32

IN_PYTHON = ("sleeps for ever", "spins", "waits for a lock", "swallows every exception", "hangs in its fan-out")
IN_C = ("holds the GIL", "stops itself")


class Noted(PipelineEngine[Any, Any]):
    """Writes down which record is begun when and where; `seconds` is what a good one takes."""

    time_limit: float | None = LIMIT
    batch_size = SIZE

    def __init__(self, log: Path, records: list[Any], seconds: float = 0.0) -> None:
        self.log = str(log)
        self.records = records
        self.seconds = seconds
        self.taken: list[Any] = []
        self.failures: list[Failure[Any]] = []

    def note(self, record: Any) -> tuple[Any, bool]:
        with open(self.log, "a") as file:
            file.write(f"{record if isinstance(record, int) else 'bad'} {os.getpid()} {time.monotonic()}\n")
        if isinstance(record, int):
            time.sleep(self.seconds)
        return record, True

    steps = (note, act)

    async def feed(self) -> AsyncIterator[Any]:
        for record in self.records:
            yield record

    async def sink(self, records: list[Any]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures

    def begun(self) -> Counter[str]:
        """How often each record was begun."""
        return Counter(line.split()[0] for line in Path(self.log).read_text().splitlines())


def with_bad(name: str, *places: int, count: int = 2 * SIZE) -> list[Any]:
    return [Bad(name) if n in places else n for n in range(count)]


def good(records: list[Any]) -> list[int]:
    return [record for record in records if isinstance(record, int)]


def time_of_hanging(log: Path) -> float:
    """Seconds from the moment the bad record was begun to the end of the process that had it."""
    while not (bad := [line for line in _lines(log) if line.startswith("bad")]):
        time.sleep(0.002)
    _, pid, begun = bad[0].split()
    descriptor = os.pidfd_open(int(pid))
    try:
        select.select([descriptor], [], [], 10)
        return time.monotonic() - float(begun)
    finally:
        os.close(descriptor)


def _lines(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.count(" ") == 2] if log.exists() else []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for the end of a process that is no child")
@pytest.mark.parametrize("name", [*IN_PYTHON, *IN_C])
async def test_what_hangs_is_killed_within_a_quarter_of_a_second_of_its_limit(name: str, tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad(name, BAD_AT))
    async with asyncio.timeout(10), PipeFrame(2) as frame:
        watching = asyncio.create_task(asyncio.to_thread(time_of_hanging, tmp_path / "log"))
        await frame.run(pipeline)
        took = await watching
    assert LIMIT - 0.05 <= took <= LIMIT + GRACE
    [failure] = pipeline.failures
    assert (failure.kind, failure.step, failure.record) == ("timeout", "act", Bad(name))
    assert (FAULTS[name].trace or "") in failure.traceback
    assert pipeline.taken == good(pipeline.records)


@pytest.mark.parametrize("name", IN_PYTHON)
async def test_no_batch_mate_of_what_hangs_is_begun_twice(name: str, tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad(name, BAD_AT))
    report = await PipeFrame(1).run(pipeline)
    assert pipeline.taken == good(pipeline.records)
    begun = pipeline.begun()
    assert begun.pop("bad") == 2  # once more alone: its worker may have stood still
    assert begun == {str(n): 1 for n in good(pipeline.records)}
    assert report.re_executed == 1


@pytest.mark.parametrize("name", IN_C)
async def test_what_hangs_in_c_costs_what_came_after_it_nothing(name: str, tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad(name, BAD_AT))
    report = await PipeFrame(1).run(pipeline)
    assert pipeline.taken == good(pipeline.records)
    begun = pipeline.begun()
    assert begun["bad"] == 2
    assert all(begun[str(n)] == 1 for n in range(BAD_AT + 1, 2 * SIZE))
    assert all(begun[str(n)] <= 2 for n in range(BAD_AT))
    assert report.re_executed == sum(begun.values()) - len(begun)


async def test_each_of_several_that_hang_in_one_batch_is_found(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", with_bad("sleeps for ever", 0, 1, 40, SIZE - 1))
    await PipeFrame(2).run(pipeline)
    assert [failure.kind for failure in pipeline.failures] == ["timeout"] * 4
    assert pipeline.taken == good(pipeline.records)


async def test_the_limit_is_of_a_record_and_not_of_its_batch(tmp_path: Path) -> None:
    pipeline = Noted(tmp_path / "log", list(range(3 * 20)), seconds=0.03)
    pipeline.batch_size = 20  # a batch takes twice the limit, and two more wait behind it
    report = await PipeFrame(1).run(pipeline)
    assert (report.failed, report.worker_restarts) == (0, 0)
    assert pipeline.taken == list(range(3 * 20))


class Slow(Noted):
    """Takes longer than the limit to come and to go."""

    def setup(self) -> None:
        time.sleep(LIMIT + 2 * GRACE)

    teardown = setup


async def test_setup_and_teardown_may_take_longer_than_the_limit(tmp_path: Path) -> None:
    pipeline = Slow(tmp_path / "log", list(range(10)))
    report = await PipeFrame(1).run(pipeline)
    assert (report.failed, report.worker_restarts, report.re_executed) == (0, 0, 0)
    assert pipeline.taken == list(range(10))


class Blocking(Noted):
    """A sink that blocks the event loop: an accident of the user's, and no record's fault."""

    async def sink(self, records: list[Any]) -> None:
        await super().sink(records)
        time.sleep(LIMIT + 2 * GRACE)  # noqa: ASYNC251 - that is the accident


async def test_an_event_loop_that_is_blocked_times_nobody_out(tmp_path: Path) -> None:
    pipeline = Blocking(tmp_path / "log", list(range(40)), seconds=0.02)
    pipeline.batch_size = 10
    report = await PipeFrame(2).run(pipeline)
    assert (report.failed, report.worker_restarts) == (0, 0)
    assert pipeline.taken == list(range(40))


class Unlimited(Noted):
    time_limit = None


async def test_a_limit_is_no_limit_for_another_run_on_the_same_worker(tmp_path: Path) -> None:
    patient = Unlimited(tmp_path / "patient", list(range(4)), seconds=LIMIT + 2 * GRACE)
    patient.batch_size = 1
    strict = Noted(tmp_path / "strict", with_bad("sleeps for ever", 1, count=4))
    strict.batch_size = 1
    async with PipeFrame(1) as frame:
        reports = await asyncio.gather(frame.run(patient), frame.run(strict))
    assert [report.failed for report in reports] == [0, 1]
    assert (patient.taken, strict.taken) == ([0, 1, 2, 3], [0, 2, 3])
