"""Every way a run can end, at any moment: books that balance, a feed that is closed, no task left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import StateError, WorkerLost
from pipeframe_async.executors.packing import Packing
from pipeframe_async.testing import FakeExecutor
from pipeframe_async.wire import Reply
from tests.engine.harness import Kept, Stream, a_run, balanced, watched

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
async def test_a_lane_that_gives_up_ends_the_run_at_once() -> None:
    pipeline = Kept(range(100))
    with pytest.raises(WorkerLost, match="refuses batch 2") as caught:
        await watched(a_run(pipeline, FakeExecutor(refusals={2})))
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
        def unpack(self, reply: Reply, step: str, *, aside: bool = False) -> Any:
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
