"""Chains that are run beside the loop, and those that are not: the order and the books are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import DROP
from pipeframe_async._rules.worth import ENOUGH_BATCHES
from pipeframe_async.executors.threads import ThreadsExecutor
from pipeframe_async.testing import FakeExecutor
from pipeframe_async.wire import ChainRef, Live, Packed, Reply
from tests.engine.harness import Kept, a_run, watched

FED = 600


class Beside:
    """A place beside the loop: takes records live, runs them at once; says how long their steps took."""

    where = "thread"
    restarts = 0
    beside = None
    name = "beside"
    workers = slots = 1
    busy = 0

    def __init__(self, seconds: float = 1e-4) -> None:
        self._threads = ThreadsExecutor(1)
        self.codec = self._threads.codec
        self.load = self._threads.load
        self.lanes = (self,)
        self.seconds = seconds
        self.data: list[Any] = []

    async def start(self) -> None: ...

    def drop(self, token: int) -> None: ...

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply:
        from pipeframe_async._worker import envelope

        await asyncio.sleep(0)
        self.data.append(batch.data)
        reply = envelope.work(chain.key, chain.data, number, batch.data, ship, batch.span)
        return reply._replace(wall=self.seconds, cpu=self.seconds, worked=self.seconds)

    @property
    def live(self) -> int:
        return sum(len(data.values) for data in self.data if isinstance(data, Live))

    async def close(self, *, kill: bool, timeout: float) -> None:
        await self._threads.close(kill=kill, timeout=timeout)


def many_kinds(number: int) -> Any:
    match number % 10:
        case 3:
            return DROP
        case 5:
            raise ValueError(number)
        case 7:
            return number, False
        case 9:
            return thrice(number)
    return number, True


def thrice(number: int) -> Iterator[tuple[int, bool]]:
    for _ in range(3):
        yield number, True


class Mixed(Kept):
    steps = (many_kinds, lambda number: (number, True))
    batch_size = 10


EXPECTED = [n for n in range(FED) for _ in range({3: 0, 5: 0, 9: 3}.get(n % 10, 1))]


def fleet(beside: Beside, work: float = 0.1) -> FakeExecutor:
    return FakeExecutor(delay=0.002, work=work, beside=beside)


async def ran(pipeline: Kept, executor: FakeExecutor, **how: Any) -> Any:
    run = a_run(pipeline, executor, **how)
    try:
        return await watched(run)
    finally:
        await executor.beside.close(kill=False, timeout=1.0)  # type: ignore[union-attr]
        await executor.close(kill=False, timeout=1.0)


def check(pipeline: Kept, report: Any) -> None:
    assert pipeline.taken == EXPECTED
    assert sorted(failure.record for failure in pipeline.dead) == list(range(5, FED, 10))
    assert {failure.step for failure in pipeline.dead} == {"many_kinds"}
    assert (report.fed, report.emitted, report.bypassed) == (FED, FED // 5, FED // 10)
    assert (report.filtered, report.failed, report.delivered) == (FED // 10, FED // 10, len(EXPECTED))


async def test_a_chain_that_moves_in_mid_run_keeps_order_failures_fan_out_and_books() -> None:
    pipeline, beside = Mixed(range(FED)), Beside()
    report = await ran(pipeline, executor := fleet(beside))
    check(pipeline, report)
    assert len(executor.batches) >= ENOUGH_BATCHES
    assert beside.live + sum(count for _, count in executor.batches) == FED
    assert beside.live > FED // 2
    assert {step.where for step in report.steps} == {"both"}


async def test_a_chain_that_turns_heavy_beside_the_loop_goes_back_in_the_same_run() -> None:
    pipeline, beside = Mixed(range(FED)), Beside(seconds=0.1)
    report = await ran(pipeline, executor := fleet(beside))
    check(pipeline, report)
    assert executor.batches[-1][0] > ENOUGH_BATCHES + len(beside.data)


async def test_a_chain_that_is_worth_its_way_never_moves() -> None:
    pipeline, beside = Mixed(range(FED)), Beside()
    report = await ran(pipeline, fleet(beside, work=0.9))
    check(pipeline, report)
    assert not beside.data
    assert {step.where for step in report.steps} == {"fake"}


async def test_a_chain_with_a_time_limit_never_moves() -> None:
    class Limited(Mixed):
        time_limit = 1.0

    beside = Beside()
    pipeline = Limited(range(FED))
    check(pipeline, await ran(pipeline, fleet(beside)))
    assert not beside.data


async def test_records_on_disk_are_run_beside_the_loop_too() -> None:
    class Whole(Mixed):
        source = "batch"

    pipeline, beside = Whole(range(FED)), Beside()
    check(pipeline, await ran(pipeline, fleet(beside), buffer_size=50))
    assert any(isinstance(data, tuple) for data in beside.data)


async def test_a_chain_whose_setup_raises_beside_the_loop_only_stays_in_its_workers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fussy(Kept):
        steps = (lambda record: (record, True),)
        batch_size = 10

    class Refuses(Beside):
        async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply:
            from pipeframe_async.wire import BROKEN_CHAIN, Refusal

            return Reply(0, refusal=Refusal(BROKEN_CHAIN, "setup raised: no model"))

    pipeline = Fussy(range(FED))
    report = await ran(pipeline, fleet(Refuses()))
    assert pipeline.taken == list(range(FED))
    assert (report.delivered, report.steps[0].where) == (FED, "fake")
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


async def test_what_a_batch_is_thought_to_weigh_beside_the_loop_stays_within_the_buffer() -> None:
    pipeline, beside = Mixed(range(FED)), Beside()
    run = a_run(pipeline, executor := fleet(beside), buffer_bytes=4000)
    check(pipeline, await watched(run))
    assert all(data.nbytes > 0 for data in beside.data if isinstance(data, Live))
    await beside.close(kill=False, timeout=1.0)
    await executor.close(kill=False, timeout=1.0)


async def test_the_first_batch_of_a_lane_is_no_evidence_since_a_worker_imports_with_it() -> None:
    class Heavy(Kept):
        steps = (lambda record: (record, True),)
        batch_size = 1

    class Importing(FakeExecutor):
        def seconds(self, number: int, records: int) -> float:
            return 1.0 if number < len(self.lanes) else 0.001

    class Slow(Beside): ...

    executor = Importing(work=0.9, beside=(beside := Slow()))
    for lane in executor.lanes:
        lane.run = importing(lane, lane.run)  # type: ignore[method-assign]
    pipeline = Heavy(range(100))
    await ran(pipeline, executor)
    assert pipeline.taken == list(range(100))
    assert not beside.data


def importing(lane: Any, run: Any) -> Any:
    """A lane whose first reply says that all its seconds went into reading the batch."""

    async def first_run(*args: Any, **how: Any) -> Any:
        first = not lane.batches
        reply = await run(*args, **how)
        return reply._replace(worked=0.0) if first else reply

    return first_run


# Threads without a GIL, one for each lane.


class Fleet(FakeExecutor):
    """Fake lanes with a thread each, where ten records take so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.threads = [Beside(seconds), Beside(seconds)]
        super().__init__(delay=0.002, work=0.5, beside=self.threads[0])

    async def close(self, *, kill: bool, timeout: float) -> None:
        await self.threads[1].close(kill=kill, timeout=timeout)  # the other is beside, which `ran` closes
        await super().close(kill=kill, timeout=timeout)


async def test_a_chain_that_is_faster_in_threads_stays_there_and_keeps_order_failures_fan_out_and_books() -> None:
    pipeline, executor = Mixed(range(FED)), Fleet(seconds=0.001)
    report = await ran(pipeline, executor)
    check(pipeline, report)
    assert all(there.live for there in executor.threads)
    there = sum(there.live for there in executor.threads)
    assert FED // 2 < there == FED - sum(count for _, count in executor.batches)
    assert {step.where for step in report.steps} == {"both"}
    assert "of the records were run in 2 threads of this process, without a GIL: a record was" in report.bottleneck


async def test_a_chain_that_is_several_times_slower_in_threads_is_back_in_its_workers_after_a_trial() -> None:
    pipeline, executor = Mixed(range(FED)), Fleet(seconds=0.010)
    report = await ran(pipeline, executor)
    check(pipeline, report)
    tried = sum(len(there.data) for there in executor.threads)
    assert ENOUGH_BATCHES <= tried <= 2 * ENOUGH_BATCHES  # with the first of each thread, and those under way
    assert executor.batches[-1][0] > max(tried, FED // 20)
    assert "times as long there as before" in report.bottleneck


async def test_keys_that_are_tied_to_a_lane_are_tied_to_its_thread() -> None:
    class Keyed(Kept):
        steps = (lambda record: (record, True),)
        batch_size = 10
        order = staticmethod(lambda record: record % 8)

    pipeline, executor = Keyed(range(FED)), Fleet(seconds=0.001)
    await ran(pipeline, executor)
    assert all(there.live for there in executor.threads)
    seen = [{value % 8 for data in there.data for value in data.values} for there in executor.threads]
    assert seen[0].isdisjoint(seen[1])
    assert sorted(pipeline.taken) == list(range(FED))


async def test_a_chain_with_a_time_limit_is_never_tried_in_threads() -> None:
    class Limited(Mixed):
        time_limit = 1.0

    executor = Fleet(seconds=0.001)
    pipeline = Limited(range(FED))
    check(pipeline, await ran(pipeline, executor))
    assert not any(there.data for there in executor.threads)
