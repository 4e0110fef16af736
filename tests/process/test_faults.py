"""The fault matrix: one bad record among 64 good ones, five more batches in flight, every way a record can be bad.

The bad record alone must fail, as what it is; every other record arrives once and in order, the other lanes keep
their workers, the same warm frame goes on, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeframe_async import Failure, PipeFrame, PipelineEngine, RunReport
from pipeframe_async.executors.processes import launch
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.testing import leaks, procfs
from tests.conftest import REAL_LOOPS, one_of

pytest.importorskip("resource", reason="the faults are those of a POSIX system")

from tests.process import faults
from tests.process.faults import FAULTS, Fault

pytestmark = pytest.mark.process

LANES = 3
MATES = 64
SIZE = MATES + 1
BATCHES = 6
BAD_AT = 2 * SIZE + MATES // 2
"""The middle of the third batch."""

MAX_SECONDS = 15.0
"""For a run that would never end; alone each takes one or two, and on a busy machine several times that."""

CASES = [
    *(
        (name, launch.DEFAULT_METHOD, loop)
        for name in FAULTS
        for loop in (REAL_LOOPS if name in faults.REPRESENTATIVES else one_of(REAL_LOOPS, name))
    ),
    *((name, "spawn", "asyncio") for name in faults.REPRESENTATIVES if launch.DEFAULT_METHOD != "spawn"),
]
ONCE = {(name, launch.DEFAULT_METHOD, loop) for name in FAULTS for loop in one_of(REAL_LOOPS, name)}
"""Those that are met where nobody asks for all of them: each fault once."""


class Numbers(PipelineEngine[Any, tuple[Any, int]]):
    """Six full batches, with the bad record in the third where there is one."""

    steps: Sequence[Callable[..., object]] = (faults.passes, faults.act, faults.stamp)
    batch_size = SIZE

    def __init__(self, fault: Fault | None = None) -> None:
        self.time_limit = fault.time_limit if fault else None
        self.fed: list[Any] = list(range(BATCHES * SIZE))
        if fault:
            self.fed[BAD_AT] = fault.bad_record()
        self.taken: list[Any] = []
        self.pids: set[int] = set()
        self.failures: list[Failure[Any]] = []

    async def feed(self) -> AsyncIterator[Any]:
        for record in self.fed:
            yield record

    async def sink(self, records: list[tuple[Any, int]]) -> None:
        self.taken += [record for record, _ in records]
        self.pids |= {pid for _, pid in records}

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures


class Prepared(Numbers):
    """The same for a fault that needs its worker prepared."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.prepare = fault.setup

    def setup(self) -> None:
        assert self.prepare is not None
        self.prepare()


async def waits(record: Any) -> tuple[Any, bool]:
    await asyncio.sleep(0)
    return record, True


class Mixed(Numbers):
    """The same through five runs of steps, of which two are for workers."""

    steps = (waits, faults.passes, faults.act, waits, faults.stamp, waits)


class MixedPrepared(Prepared):
    steps = Mixed.steps


class RollCall(PipelineEngine[int, tuple[int, int]]):
    """Has so many records at work, one a batch, that every lane must answer."""

    steps = (faults.answers_slowly, faults.stamp)
    source = "stream"
    batch_size = 1
    timeout = None

    def __init__(self) -> None:
        self.pids: set[int] = set()
        self.waited_for = 0

    async def feed(self) -> AsyncIterator[int]:
        while len(self.pids) < LANES:
            if self.waited_for < 2 * LANES:
                self.waited_for += 1
                yield 0
            else:
                await asyncio.sleep(0.001)

    async def sink(self, records: list[tuple[int, int]]) -> None:
        self.pids |= {pid for _, pid in records}
        self.waited_for -= len(records)


async def workers_of(frame: PipeFrame) -> set[int]:
    """The pids of all lanes' workers."""
    call = RollCall()
    async with asyncio.timeout(10):
        await frame.run(call)
    return call.pids


@asynccontextmanager
async def warm(method: str) -> AsyncIterator[PipeFrame]:
    """A warm frame with its own workers; or, where those are to be started in another way, with lanes it is lent."""
    if method == launch.DEFAULT_METHOD:
        async with PipeFrame(LANES, drain_timeout=1.0) as frame:
            yield frame
        return
    lanes = ProcessLanes(LANES, method)
    try:
        async with PipeFrame(executor=lanes, drain_timeout=1.0) as frame:
            yield frame
    finally:
        await lanes.close(kill=False, timeout=1.0)


@pytest.mark.parametrize(
    ("name", "method", "loop"),
    [pytest.param(*case, id=", ".join(case), marks=() if case in ONCE else pytest.mark.full) for case in CASES],
)
def test_a_bad_record_costs_itself_and_nothing_else(name: str, method: str, loop: str) -> None:
    with asyncio.Runner(loop_factory=REAL_LOOPS[loop]) as runner:
        runner.run(meet(FAULTS[name], method))


MIXED = [*((name, "asyncio") for name in FAULTS), *((name, "uvloop") for name in faults.REPRESENTATIVES)]


@pytest.mark.parametrize(("name", "loop"), MIXED, ids=[f"{name}, {loop}" for name, loop in MIXED])
def test_it_does_so_between_async_steps_too(name: str, loop: str) -> None:
    with asyncio.Runner(loop_factory=REAL_LOOPS[loop]) as runner:
        runner.run(meet(FAULTS[name], mixed=True))


async def meet(fault: Fault, method: str = launch.DEFAULT_METHOD, *, mixed: bool = False) -> None:
    """Three runs on one warm frame: all lanes at work, the fault, and a good one."""
    if mixed:
        pipeline: Numbers = MixedPrepared(fault) if fault.setup else Mixed(fault)
    else:
        pipeline = Prepared(fault) if fault.setup else Numbers(fault)
    async with warm(method) as frame:
        before = await workers_of(frame)
        async with asyncio.timeout(MAX_SECONDS):
            report = await frame.run(pipeline)
        only_the_bad_one_failed(fault, pipeline, report, mixed=mixed)
        after_it = Mixed() if mixed else Numbers()
        async with asyncio.timeout(MAX_SECONDS):
            await frame.run(after_it)
        assert (after_it.taken, after_it.failures) == (list(range(BATCHES * SIZE)), [])
        after = await workers_of(frame)
        lost = before - after
        assert len(lost) <= (1 if fault.deadly else 0), f"other lanes lost their workers: {before} became {after}"
        await nothing_runs_but(after)


def only_the_bad_one_failed(fault: Fault, pipeline: Numbers, report: RunReport, *, mixed: bool = False) -> None:
    good = [n for n in range(BATCHES * SIZE) if n != BAD_AT]
    taken = [record for record in pipeline.taken if isinstance(record, int)]
    assert taken == good
    assert (report.fed, report.aborted, report.filtered, report.ended_by) == (BATCHES * SIZE, 0, 0, "exhausted")
    if fault.kind is None:
        assert (len(pipeline.taken), report.failed, pipeline.failures) == (BATCHES * SIZE, 0, [])
        return
    assert len(pipeline.taken) == len(good)
    assert (report.failed, report.delivered) == (1, len(good))
    [failure] = pipeline.failures
    step = fault.step or failure.step
    if mixed and step == "stamp":
        step = "act"  # its result leaves the worker there
    assert (failure.kind, failure.step) == (fault.kind, step), f"{failure}\n{failure.traceback}"
    assert failure.error_type == (fault.error_type or failure.error_type)
    said = f"{failure.error_type}: {failure.message}"
    assert re.search(fault.text, said), said
    assert len(failure.message) <= 8 * 1024
    if fault.trace is not None:
        assert fault.trace in failure.traceback, failure.traceback
    if fault.record is None:
        assert failure.record == faults.Bad(fault.name)


async def nothing_runs_but(workers: set[int]) -> None:
    """What a worker has started goes with it, while the frame is still open."""
    if not procfs.AVAILABLE:
        return
    allowed = workers | {os.getpid()}
    deadline = asyncio.get_running_loop().time() + leaks.PATIENCE
    while others := [str(p) for p in leaks.our_processes() if p.pid not in allowed and p.state != "Z"]:
        assert asyncio.get_running_loop().time() < deadline, f"still running: {others}"
        await asyncio.sleep(0.01)


def test_every_fault_has_a_name_of_its_own_and_the_representatives_are_faults() -> None:
    assert len(FAULTS) == len(faults.LIST) >= 40
    assert set(faults.REPRESENTATIVES) <= set(FAULTS)
