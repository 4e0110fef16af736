"""The accounts of a run: its stats at any time, and the report it is concluded with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async._engine.usage import Accounts
from pipeframe_async.stats import RunStats
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Kept, Stream, a_run, balanced, failing

pytestmark = pytest.mark.virtual_clock


async def waits(record: Any) -> tuple[Any, bool]:
    await asyncio.sleep(0.01)
    return record, True


async def test_records_that_nobody_has_looked_at_are_fed_and_in_flight() -> None:
    run = a_run(Kept())
    accounts = Accounts(run.organs, RunStats("Kept"))
    run.organs.backlog.records += [1, 2, 3]
    stats = accounts.stats()
    assert (stats.fed, stats.in_flight) == (3, 3)
    assert balanced(stats)


async def test_looking_changes_nothing() -> None:
    run = a_run(Kept())
    accounts = Accounts(run.organs, RunStats("Kept"))
    run.organs.backlog.records += [1, 2, 3]
    assert accounts.moved() == accounts.moved()
    assert run.organs.books.ledger.fed == 0


async def test_what_has_moved_is_seen_without_the_clock() -> None:
    run = a_run(Kept())
    accounts = Accounts(run.organs, RunStats("Kept"))
    before = accounts.moved()
    assert before.elapsed == 0.0
    run.organs.backlog.records.append(1)
    assert accounts.moved() != before


async def test_only_restarts_of_its_own_time_count() -> None:
    executor = FakeExecutor(1, poison=lambda record: record == 3)
    executor.lanes[0].lives = 5
    assert executor.restarts == 4
    run = a_run(Kept(range(5), max_failures=None), executor)
    report = await run.execute()
    assert report.worker_restarts == executor.restarts - 4 > 0


async def test_a_report_has_a_line_for_each_step_in_their_order_and_where_it_ran() -> None:
    report = await a_run(Stream(range(20), steps=[failing_odd, waits])).execute()
    assert [(step.name, step.where) for step in report.steps] == [("failing_odd", "fake"), ("waits", "loop")]
    assert report.steps[0].calls == 20


def failing_odd(record: int) -> tuple[int, bool]:
    return record, True


async def test_errors_of_handles_and_of_the_watermark_are_both_ack_errors() -> None:
    async def on_progress(watermark: int) -> None:
        raise OSError("gone")

    run = a_run(Kept(range(3), on_progress=on_progress))
    run.organs.books.handles.errors = 2
    report = await run.execute()
    assert run.organs.watermark is not None
    assert report.ack_errors == 2 + run.organs.watermark.errors > 2


async def test_concluded_accounts_stand_still() -> None:
    run = a_run(Kept(range(10)))
    report = await run.execute()
    stats = run.stats()
    run.organs.backlog.records.append("late")
    assert run.stats() == stats
    assert (stats.fed, stats.elapsed) == (report.fed, report.elapsed)


async def test_the_report_says_which_part_bounded_the_run() -> None:
    run = a_run(Stream(range(10), steps=[waits], async_concurrency=1))
    await run.execute()
    accounts = Accounts(run.organs, RunStats("Kept"))
    run.organs.async_stages[0].seconds = 1e6
    assert "async_concurrency=1 places taken" in accounts.conclude("exhausted").bottleneck


async def test_where_no_def_step_is_there_are_no_workers_to_account_for() -> None:
    report = await a_run(Stream(range(3), steps=[waits])).execute()
    assert [step.where for step in report.steps] == ["loop"]


async def test_failed_records_are_in_it() -> None:
    report = await a_run(Kept(range(3), steps=[failing])).execute()
    assert (report.failed, report.delivered, report.fed) == (3, 0, 3)
