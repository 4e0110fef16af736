"""One run's life: how it begins, is told to end, and what it says afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import FeedError, InternalError, PipelineFailed, RunReport, StateError
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.run import Run
from pipeframe_async._engine.wiring import Limits
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.plan import feed_of, plan_of
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Kept, Stream, a_run, balanced, failing, now

pytestmark = pytest.mark.virtual_clock


async def begun(run: Run) -> asyncio.Task[RunReport]:
    task = asyncio.get_running_loop().create_task(run.execute())
    await asyncio.sleep(0.001)
    return task


async def test_it_feeds_drains_and_is_over() -> None:
    run = a_run(Kept([1, 1.0]), FakeExecutor(1, delay=5.0))
    assert (run.stopping, run.over) == (False, False)
    task = await begun(run)
    await asyncio.sleep(2)
    assert (run.stopping, run.over) == (True, False)
    await task
    assert (run.stopping, run.over) == (True, True)


async def test_its_report_is_there_when_it_is_over_and_not_before() -> None:
    run = a_run(Kept([1]))
    assert run.report is None
    assert await run.execute() is run.report is run.results.report


async def test_it_calls_once_when_it_is_over() -> None:
    ends: list[bool] = []
    plan = plan_of(Kept([1]))
    run: Run
    run = Run(
        plan,
        feed_of(plan.pipeline, None),
        Workforce(FakeExecutor()),
        Limits(10, 1000, 1.0),
        on_end=lambda: ends.append(run.over),
    )
    await run.execute()
    assert ends == [True]


async def test_one_that_is_stopped_before_it_began_feeds_nothing() -> None:
    pipeline = Kept(range(10))
    run = a_run(pipeline)
    run.stop()
    report = await run.execute()
    assert (report.fed, report.ended_by, pipeline.fed) == (0, "stopped", [])


async def test_a_second_stop_does_not_move_the_deadline() -> None:
    run = a_run(Kept([1]), FakeExecutor(1, hangs={0}), drain_timeout=10.0)
    task = await begun(run)
    run.stop()
    await asyncio.sleep(8)
    run.stop()
    report = await task
    assert now() == pytest.approx(10, abs=0.1)
    assert report.aborted == 1


async def test_one_that_is_abandoned_waits_for_nothing() -> None:
    run = a_run(Kept(range(5)), FakeExecutor(1, hangs={0}), drain_timeout=1000.0)
    task = await begun(run)
    run.abandon()
    report = await task
    assert now() < 1
    assert report.aborted == report.fed
    assert run.left_work


async def test_one_that_came_to_its_own_end_has_left_no_work() -> None:
    run = a_run(Kept(range(5)))
    await run.execute()
    assert not run.left_work


async def test_what_ended_it_is_the_gravest_cause() -> None:
    run = a_run(Stream([1, 1000.0], timeout=5.0), FakeExecutor(1, delay=50.0))
    task = await begun(run)
    await asyncio.sleep(10)
    run.stop()
    assert (await task).ended_by == "stopped"


async def test_a_cancel_aborts_what_is_in_flight_and_the_books_balance() -> None:
    run = a_run(Kept(range(50)), FakeExecutor(1, delay=10.0))
    task = await begun(run)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.report is not None
    assert (run.report.ended_by, run.report.aborted) == ("cancelled", run.report.fed)
    assert balanced(run.report)
    with pytest.raises(StateError, match="the run was cancelled"):
        await anext(run.results)


async def test_an_error_of_the_feed_comes_after_what_it_fed_before() -> None:
    class Torn(Kept):
        async def feed(self) -> Any:
            yield 1
            raise OSError("torn")

    pipeline = Torn()
    run = a_run(pipeline)
    with pytest.raises(FeedError, match="torn") as caught:
        await run.execute()
    assert pipeline.taken == [1]
    assert caught.value.report is run.report
    assert run.report is not None
    assert run.report.ended_by == "failed"


async def test_too_many_failures_are_an_error_that_has_them() -> None:
    run = a_run(Stream(range(3), steps=[failing], max_failures=0))
    with pytest.raises(PipelineFailed, match="more than max_failures=0 allows; the first: ") as caught:
        await run.execute()
    assert caught.value.failures
    assert any("In the worker:" in note for note in caught.value.__notes__)


async def test_books_that_do_not_balance_are_our_bug_and_said_so() -> None:
    run = a_run(Kept(range(3)))
    run.organs.books.ledger.fed = -1
    with pytest.raises(InternalError, match="the books do not balance") as caught:
        await run.execute()
    assert caught.value.report is run.report


async def test_an_error_is_the_cause_where_the_books_do_not_balance_either() -> None:
    class Torn(Kept):
        async def feed(self) -> Any:
            run.organs.books.ledger._book(Outcome(delivered=1))
            yield 1
            raise OSError("torn")

    run = a_run(Torn())
    with pytest.raises(InternalError) as caught:
        await run.execute()
    assert isinstance(caught.value.__cause__, FeedError)


async def test_no_task_of_it_is_left() -> None:
    run = a_run(Kept(range(50)), FakeExecutor(1, delay=10.0))
    task = await begun(run)
    assert len([each for each in asyncio.all_tasks() if each.get_name().startswith("pipeframe-Kept-")]) >= 4
    run.abandon()
    await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_its_stats_may_be_asked_for_at_any_time() -> None:
    run = a_run(Kept(range(5)))
    assert run.stats().fed == 0
    await run.execute()
    assert run.stats().delivered == 5
