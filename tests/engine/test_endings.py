"""Every way a run can end, at any moment: books that balance, a feed that is closed, no task left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pipeframe_async import DROP, Chunk, Delivery, StateError, WorkerLost
from pipeframe_async.executors.packing import Packing
from pipeframe_async.testing import FakeExecutor, run_virtual
from pipeframe_async.wire import Reply
from tests.engine.runs import Kept, Stream, a_run, balanced, watched

virtual = pytest.mark.virtual_clock


@virtual
async def test_stop_finishes_what_is_in_flight_and_takes_no_more() -> None:
    pipeline = Kept([item for i in range(1000) for item in (i, 0.01)])
    run = a_run(pipeline, FakeExecutor(delay=lambda number, records: 0.5))
    running = asyncio.ensure_future(watched(run))
    await asyncio.sleep(2)
    run.stop()
    report = await running
    assert (report.ended_by, report.aborted) == ("stopped", 0)
    assert pipeline.taken == pipeline.fed
    assert 0 < report.fed < 1000


@virtual
async def test_stop_gives_up_after_the_drain_timeout() -> None:
    pipeline = Kept(range(100))
    run = a_run(pipeline, FakeExecutor(1, hangs={3}), drain_timeout=10.0)
    running = asyncio.ensure_future(watched(run))
    await asyncio.sleep(5)
    run.stop()
    report = await running
    assert asyncio.get_running_loop().time() == pytest.approx(15, abs=0.1)
    assert report.ended_by == "stopped"
    assert report.aborted > 0
    assert balanced(report)
    assert run.left_work


@virtual
async def test_a_lane_that_dies_ends_the_run_at_once() -> None:
    pipeline = Kept(range(100))
    with pytest.raises(WorkerLost, match="died with batch 2") as caught:
        await watched(a_run(pipeline, FakeExecutor(deaths={2})))
    assert caught.value.report is not None
    assert balanced(caught.value.report)


@virtual
async def test_results_are_abandoned_where_the_consumer_leaves() -> None:
    run = a_run(Stream(range(100)), buffer_size=20, streaming=True)
    running = asyncio.ensure_future(watched(run))
    taken = [await anext(run.results) for _ in range(5)]
    with pytest.raises(StateError, match="not ended"):
        _ = run.results.report
    run.abandon()
    report = await running
    assert taken == [0, 1, 2, 3, 4]
    assert (report.delivered, report.ended_by) == (5, "stopped")
    assert balanced(report)


@virtual
async def test_each_result_goes_to_one_of_two_consumers() -> None:
    run = a_run(Stream(range(200)), buffer_size=10, streaming=True)
    running = asyncio.ensure_future(run.execute())

    async def consume() -> list[int]:
        return [record async for record in run.results]

    first, second = await asyncio.gather(consume(), consume())
    await running
    assert sorted(first + second) == list(range(200))


@virtual
async def test_a_consumer_cancelled_while_it_waits_loses_nothing() -> None:
    run = a_run(Stream([item for i in range(20) for item in (i, 1.0)]), streaming=True)
    running = asyncio.ensure_future(run.execute())
    taken: list[int] = []
    while len(taken) < 20:
        try:
            async with asyncio.timeout(0.3):
                taken.append(await anext(run.results))
        except TimeoutError:
            continue
    report = await running
    assert taken == list(range(20))
    assert report.delivered == 20


@virtual
async def test_without_a_consumer_nothing_is_shipped() -> None:
    shipped: set[int] = set()

    class Seen(Packing):
        def unpack(self, reply: Reply, step: str) -> Any:
            shipped.add(reply.nbytes)
            return super().unpack(reply, step)

    executor = FakeExecutor()
    executor.codec = Seen()
    report = await a_run(Stream(range(100)), executor).execute()
    assert (report.delivered, shipped) == (100, {0})


@virtual
async def test_a_slow_sink_gets_fewer_and_longer_lists() -> None:
    fast, slow = Kept(range(300)), Kept(range(300), slow=1.0)
    await a_run(fast).execute()
    await a_run(slow).execute()
    assert fast.taken == slow.taken
    assert len(slow.calls) < len(fast.calls)


def mixed(record: int) -> object:
    if record % 7 == 0:
        return DROP
    if record % 11 == 0:
        return thrice(record)
    if record % 13 == 0:
        raise ValueError(record)
    return record, record % 5 != 0


def thrice(record: int) -> Any:
    for _ in range(3):
        yield record, True


SOURCES: list[Any] = ["batch", "stream"]


class Wild(Kept):
    """Records, chunks and deliveries, with pauses drawn from a seed."""

    steps = (mixed,)
    max_failures = None

    def __init__(self, draw: random.Random) -> None:
        super().__init__(slow=draw.choice([0.0, 0.05]))
        self.draw = draw
        self.opened = 0
        self.order = draw.choice(["input", "completion"])
        self.source = draw.choice(SOURCES)
        self.acked: list[int] = []
        self.nacked: list[int] = []

    def delivery(self, record: int) -> Delivery[int]:
        return Delivery(record, ack=lambda: self.acked.append(record), nack=lambda failure: self.nacked.append(record))

    async def feed(self) -> AsyncIterator[Any]:
        self.opened += 1
        pause = self.draw.choice([0.0, 0.1, 0.9])
        try:
            for i in range(self.draw.choice([0, 1, 5, 40])):
                if self.draw.random() < pause:
                    await asyncio.sleep(self.draw.random())
                kind = self.draw.random()
                if kind < 0.1:
                    yield Chunk(range(i, i + self.draw.randint(0, 9)))
                elif kind < 0.4:
                    yield self.delivery(i)
                else:
                    yield i
        finally:
            self.closed += 1


async def one_ending(seed: int) -> None:
    """A wild pipeline, ended at a drawn moment in a drawn way."""
    draw = random.Random(seed)
    pipeline = Wild(draw)
    executor = FakeExecutor(
        draw.randint(1, 3),
        delay=lambda number, records: draw.random() * 0.2,
        deaths={draw.randint(0, 9)} if draw.random() < 0.2 else (),
        hangs={draw.randint(0, 9)} if draw.random() < 0.2 else (),
    )
    streaming = draw.random() < 0.4
    size = draw.choice([1, 2, 7, 100])
    run = a_run(pipeline, executor, buffer_size=size, drain_timeout=5.0, streaming=streaming)
    running = asyncio.ensure_future(watched(run))
    consuming = asyncio.ensure_future(consume(run, draw)) if streaming else None
    for _ in range(draw.randint(1, 80)):  # once at least: a task that is cancelled before it began has run nothing
        await asyncio.sleep(0 if draw.random() < 0.8 else 0.05)
    endings: list[Callable[[], object]] = [run.stop, run.abandon, running.cancel, lambda: None]
    draw.choice(endings)()
    await asyncio.wait([running], timeout=60)
    if not running.done():  # it hangs, as it was told to, and nobody had stopped it
        running.cancel()
        await asyncio.wait([running])
    if consuming is not None:
        await asyncio.wait([consuming])
        consuming.exception()
    running.cancelled() or running.exception()
    stats = run.stats()
    assert balanced(stats)
    assert stats.in_flight == stats.spilled == stats.in_flight_bytes == 0
    assert pipeline.closed == pipeline.opened
    assert not set(pipeline.acked) & set(pipeline.nacked)
    assert len(pipeline.acked) == len(set(pipeline.acked))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def consume(run: Any, draw: random.Random) -> None:
    async for _ in run.results:
        if draw.random() < 0.1:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("hundred", range(10))
def test_a_run_ended_in_any_way_at_any_moment_balances_its_books_and_leaves_nothing(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        try:
            run_virtual(one_ending(seed), seed=seed if seed % 2 else None)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
