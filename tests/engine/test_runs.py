"""The runs of a frame: what has ended is shown for a while, and counts for ever."""

from __future__ import annotations

import asyncio

import pytest

from pipeframe_async._engine.runs import KEPT, Runs
from tests.engine.harness import Kept, a_run

pytestmark = pytest.mark.virtual_clock


async def test_before_the_first_there_is_nothing() -> None:
    runs = Runs()
    assert not runs
    assert (runs.stats().fed, runs.stats().runs, runs.stats().before) == (0, (), ())


async def test_those_under_way_are_summed_and_one_that_has_ended_is_the_last() -> None:
    runs = Runs()
    one, other = a_run(Kept(range(3))), a_run(Kept(range(5)))
    runs.add(one)
    runs.add(other)
    await one.execute()
    await other.execute()
    assert runs.stats().delivered == 8
    runs.forget(one)
    assert [*runs] == [other]
    assert runs.stats().delivered == 5
    runs.forget(other)
    assert not runs
    assert runs.stats().delivered == 5
    assert [run.counts.delivered for run in runs.stats().runs] == [3, 5]


async def test_whoever_waits_for_an_end_is_told() -> None:
    runs = Runs()
    run = a_run(Kept(range(3)))
    runs.add(run)
    await run.execute()
    waiting = asyncio.create_task(runs.ended.wait())
    await asyncio.sleep(0)
    runs.forget(run)
    await waiting


async def test_earlier_runs_are_counted_together_by_their_pipelines() -> None:
    runs = Runs()
    for _ in range(KEPT + 3):
        run = a_run(Kept(range(2)))
        runs.add(run)
        await run.execute()
        runs.forget(run)
    stats = runs.stats()
    assert len(stats.runs) == KEPT
    assert [(run.pipeline, run.counts.delivered) for run in stats.before] == [("Kept", 6)]
    assert sum(run.counts.delivered for run in (*stats.before, *stats.runs)) == 2 * (KEPT + 3)
