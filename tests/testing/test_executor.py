"""The fake executor: real steps and replies, in the time it was told, with the deaths and hangs it was told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async.contracts import Executor, Lane
from pipeframe_async.errors import StepError, WorkerLost
from pipeframe_async.testing import FakeExecutor
from pipeframe_async.wire import ChainRef, ChainSpec, Reply

pytestmark = pytest.mark.virtual_clock


def now() -> float:
    return asyncio.get_running_loop().time()


def double(record: int) -> tuple[int, bool]:
    return 2 * record, True


class Warm:
    """A pipeline with hooks."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def setup(self) -> None:
        self.said.append("setup")

    def teardown(self) -> None:
        self.said.append("teardown")


def loaded(executor: FakeExecutor, step: Any = double, pipeline: Any = None) -> ChainRef:
    return executor.load(ChainSpec(("double",), (step,), pipeline))


async def run(executor: FakeExecutor, lane: Lane, chain: ChainRef, number: int, *records: object) -> Reply:
    packed, _ = executor.codec.pack(records, "double")
    return await lane.run(chain, number, packed, ship=True)


async def test_it_is_an_executor_and_runs_steps_for_real() -> None:
    fake = FakeExecutor(3)
    executor: Executor = fake
    assert len(executor.lanes) == 3
    chain = loaded(fake)
    reply = await run(fake, fake.lanes[0], chain, 0, 1, 2, 3)
    assert executor.codec.unpack(reply, "double") == ([2, 4, 6], {})
    assert (reply.records, reply.delivered, reply.steps[0].calls) == (3, 3, 3)
    await executor.close(kill=False, timeout=1)


async def test_a_step_that_raises_is_a_failure_in_the_reply() -> None:
    executor = FakeExecutor(1)
    reply = await run(executor, executor.lanes[0], loaded(executor), 0, 1, None, 3)
    assert [(failure.place, failure.error_type) for failure in reply.failures] == [(1, "TypeError")]


async def test_batches_take_the_time_they_were_given_and_say_so() -> None:
    executor = FakeExecutor(1, delay=lambda number, records: 10.0 * records)
    reply = await run(executor, executor.lanes[0], loaded(executor), 0, 1, 2)
    assert (now(), reply.wall, reply.cpu) == (20.0, 20.0, 20.0)


async def test_a_lane_runs_one_batch_after_the_other_and_lanes_run_side_by_side() -> None:
    executor = FakeExecutor(2, delay=lambda number, records: 10.0)
    chain, ended = loaded(executor), {}

    async def batch(number: int, lane: Lane) -> None:
        await run(executor, lane, chain, number, number)
        ended[number] = now()

    await asyncio.gather(*(batch(number, executor.lanes[number % 2]) for number in range(4)))
    assert ended == {0: 10.0, 1: 10.0, 2: 20.0, 3: 20.0}
    assert executor.batches == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert [number for number, _ in executor.lanes[0].batches] == [0, 2]


async def test_a_start_takes_its_time() -> None:
    executor = FakeExecutor(1, start_seconds=3)
    await executor.lanes[0].start()
    assert now() == 3


async def test_a_batch_that_was_told_to_kill_its_worker_has_no_reply() -> None:
    executor = FakeExecutor(1, deaths={1}, delay=lambda number, records: 1.0)
    chain = loaded(executor)
    await run(executor, executor.lanes[0], chain, 0, 1)
    with pytest.raises(WorkerLost, match="batch 1"):
        await run(executor, executor.lanes[0], chain, 1, 1)
    assert executor.batches == [(0, 1)]


async def test_a_batch_that_hangs_holds_its_lane_until_it_is_cancelled() -> None:
    executor = FakeExecutor(1, hangs={0})
    chain = loaded(executor)
    hanging = asyncio.ensure_future(run(executor, executor.lanes[0], chain, 0, 1))
    waiting = asyncio.ensure_future(run(executor, executor.lanes[0], chain, 1, 1))
    await asyncio.sleep(1000)
    assert not hanging.done()
    assert not waiting.done()
    hanging.cancel()
    assert (await waiting).delivered == 1


async def test_closing_runs_the_teardown() -> None:
    executor, pipeline = FakeExecutor(1), Warm()
    await run(executor, executor.lanes[0], loaded(executor, pipeline=pipeline), 0, 1)
    await executor.close(kill=False, timeout=1)
    assert pipeline.said == ["setup", "teardown"]


async def test_a_teardown_that_raises_is_told() -> None:
    class Broken(Warm):
        def teardown(self) -> None:
            raise OSError("stuck")

    executor = FakeExecutor(1)
    await run(executor, executor.lanes[0], loaded(executor, pipeline=Broken()), 0, 1)
    with pytest.raises(StepError, match="stuck"):
        await executor.close(kill=False, timeout=1)
