"""The fake executor: real steps and replies, in the time it was told, with the deaths and hangs it was told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async.contracts import Executor, Lane
from pipeframe_async.errors import StepError, WorkerLost
from pipeframe_async.testing import FakeExecutor
from pipeframe_async.wire import UNREADABLE, ChainRef, ChainSpec, Death, Packed, Reply
from tests.worker import hostile

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


def loaded(
    executor: FakeExecutor, step: Any = double, pipeline: Any = None, time_limit: float | None = None
) -> ChainRef:
    return executor.load(ChainSpec(("double",), (step,), pipeline, time_limit))


async def run(executor: FakeExecutor, lane: Lane, chain: ChainRef, number: int, *records: object) -> Reply:
    reply = await sent(executor, lane, chain, number, packed(executor, *records))
    assert isinstance(reply, Reply)
    return reply


async def death(executor: FakeExecutor, lane: Lane, chain: ChainRef, number: int, *records: object) -> Death:
    dead = await sent(executor, lane, chain, number, packed(executor, *records))
    assert isinstance(dead, Death)
    return dead


async def sent(executor: FakeExecutor, lane: Lane, chain: ChainRef, number: int, batch: Packed) -> Reply | Death:
    return await lane.run(chain, number, batch, ship=True)


def packed(executor: FakeExecutor, *records: object) -> Packed:
    return executor.codec.pack(records, "double")[0]


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
    assert [(failure.at, failure.error_type) for failure in reply.failures] == [(1, "TypeError")]


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


async def test_a_batch_that_was_told_to_kill_its_worker_does_so_at_its_middle_and_once() -> None:
    executor = FakeExecutor(1, deaths={1}, delay=1.0, start_seconds=3.0)
    lane, chain = executor.lanes[0], loaded(executor)
    await run(executor, lane, chain, 0, 1)
    dead = await death(executor, lane, chain, 1, 1, 2, 3, 4)
    assert (dead.at, dead.kind, dead.begun, dead.foreign, dead.done) == (2, "crashed", True, True, None)
    assert executor.batches == [(0, 1)]
    assert (now(), executor.restarts) == (5.0, 0)
    assert (await run(executor, lane, chain, 1, 1, 2, 3, 4)).delivered == 4
    assert (now(), executor.restarts) == (9.0, 1)  # a new worker, which takes its start time


async def test_what_waits_behind_a_batch_that_dies_has_not_begun() -> None:
    executor = FakeExecutor(1, deaths={0}, delay=1.0)
    lane, chain = executor.lanes[0], loaded(executor)
    first, second = await asyncio.gather(death(executor, lane, chain, 0, 1), death(executor, lane, chain, 1, 1))
    assert (first.begun, second.begun) == (True, False)


async def test_a_batch_that_is_refused_has_no_reply_and_no_death() -> None:
    executor = FakeExecutor(1, refusals={1})
    chain = loaded(executor)
    await run(executor, executor.lanes[0], chain, 0, 1)
    with pytest.raises(WorkerLost, match="refuses batch 1"):
        await run(executor, executor.lanes[0], chain, 1, 1)
    assert executor.batches == [(0, 1)]


@pytest.mark.parametrize("framed", [False, True], ids=["whole", "frames"])
async def test_poison_kills_its_worker_whenever_it_is_run(framed: bool) -> None:
    executor = FakeExecutor(1, poison=lambda record: record == 7)
    lane, chain = executor.lanes[0], loaded(executor)
    batch = executor.codec.pack_frames([5, 6, 7, 8], "double")[0] if framed else packed(executor, 5, 6, 7, 8)
    for start, stop, at in [(0, 4, 2), (1, 4, 1), (2, 3, 0)]:
        dead = await sent(executor, lane, chain, 0, batch.stretch(start, stop))
        assert isinstance(dead, Death)
        assert (dead.at, dead.kind, dead.foreign) == (at, "crashed", False)
    reply = await sent(executor, lane, chain, 0, batch.stretch(0, 2))
    assert isinstance(reply, Reply)
    assert executor.codec.unpack(reply, "double") == ([10, 12], {})


@pytest.mark.parametrize("framed", [False, True], ids=["whole", "frames"])
@pytest.mark.parametrize(("start", "at"), [(0, 2), (1, 1), (2, 0)])
async def test_a_stuck_record_is_ended_at_the_time_limit_and_what_was_finished_before_it_is_saved(
    framed: bool, start: int, at: int
) -> None:
    executor = FakeExecutor(1, stuck=lambda record: record == 7, delay=1.0)
    lane, chain = executor.lanes[0], loaded(executor, time_limit=4.0)
    batch = executor.codec.pack_frames([5, 6, 7, 8], "double")[0] if framed else packed(executor, 5, 6, 7, 8)
    dead = await sent(executor, lane, chain, 0, batch.stretch(start, 4))
    assert isinstance(dead, Death)
    assert (now(), dead.at, dead.kind) == (5.0, at, "timeout")
    if at == 0:
        assert dead.done is None
    else:
        assert dead.done is not None
        assert dead.done.records == at
        assert executor.codec.unpack(dead.done, "double") == ([10, 12][start:], {})


async def test_a_lane_that_is_killed_loses_what_it_runs_at_the_record_it_is_at() -> None:
    executor = FakeExecutor(1, delay=10.0, start_seconds=1.0)
    lane, chain = executor.lanes[0], loaded(executor)
    running = asyncio.ensure_future(death(executor, lane, chain, 0, *range(10)))
    waiting = asyncio.ensure_future(death(executor, lane, chain, 1, 1))
    await asyncio.sleep(1.0 + 7.5)
    lane.kill()
    dead, unbegun = await running, await waiting
    assert (now(), dead.at, dead.ran, dead.kind, dead.foreign) == (8.5, 7, 7, "crashed", True)
    assert not unbegun.begun
    assert executor.batches == []
    assert (await run(executor, lane, chain, 0, 1)).delivered == 1
    assert (now(), executor.restarts) == (19.5, 1)


async def test_an_idle_lane_that_is_killed_loses_nothing() -> None:
    executor = FakeExecutor(1)
    lane, chain = executor.lanes[0], loaded(executor)
    lane.kill()  # it has no worker yet
    await run(executor, lane, chain, 0, 1)
    lane.kill()
    lane.kill()
    assert (await run(executor, lane, chain, 1, 1)).delivered == 1
    assert executor.restarts == 1


async def test_a_lane_that_hangs_or_is_stuck_can_be_killed() -> None:
    executor = FakeExecutor(2, hangs={0}, stuck=lambda record: record == 7, delay=1.0)
    chain = loaded(executor)
    hanging = asyncio.ensure_future(death(executor, executor.lanes[0], chain, 0, 1, 2))
    stuck = asyncio.ensure_future(death(executor, executor.lanes[1], chain, 1, 5, 7))
    await asyncio.sleep(100)
    for lane in executor.lanes:
        lane.kill()
    assert [((await dead).at, (await dead).foreign) for dead in (hanging, stuck)] == [(0, True), (1, True)]


@pytest.mark.parametrize("framed", [False, True], ids=["whole", "frames"])
async def test_records_that_cannot_be_read_are_left_to_the_envelope(framed: bool) -> None:
    executor = FakeExecutor(1, poison=lambda record: record == 7)
    lane, chain = executor.lanes[0], loaded(executor)
    records = [5, hostile.RaisesWhenRead(), 6]
    batch = (executor.codec.pack_frames if framed else executor.codec.pack)(records, "double")[0]
    reply = await sent(executor, lane, chain, 0, batch)
    assert isinstance(reply, Reply)
    if framed:
        assert [failure.at for failure in reply.failures] == [1]
        poisoned = await sent(executor, lane, chain, 0, executor.codec.pack_frames([*records, 7], "double")[0])
        assert isinstance(poisoned, Death)
        assert poisoned.at == 3
    else:
        assert reply.refusal is not None
        assert reply.refusal.kind == UNREADABLE


async def test_a_stuck_record_without_a_time_limit_never_ends() -> None:
    executor = FakeExecutor(1, stuck=lambda record: True)
    running = asyncio.ensure_future(run(executor, executor.lanes[0], loaded(executor), 0, 1))
    await asyncio.sleep(1000)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


async def test_the_limit_of_a_chain_is_kept_by_the_executor_itself(caplog: pytest.LogCaptureFixture) -> None:
    executor = FakeExecutor(1)
    assert loaded(executor, time_limit=4.0).time_limit == 4.0
    assert not caplog.records  # no warning that nobody would keep it
    assert loaded(executor).time_limit is None


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
