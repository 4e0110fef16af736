"""What a job that goes on does in other ways than a run that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async._engine.going_on import budget_of, hands_on_whole
from pipeframe_async._engine.settling.checkpoint import Job
from pipeframe_async.checkpoint import Done, JobState
from pipeframe_async.plan import plan_of
from pipeframe_async.state_file import StateFile
from tests.engine.harness import Through


def a_job(place: Path, failed: int) -> Job:
    """One of which ten records are done, some of them as failures."""
    file = StateFile(str(place / "state"))
    file.close()
    state = JobState({}, Done(10), {"delivered": 10 - failed, "filtered": 0, "failed": failed})
    return Job(file, DaemonThread("never"), 1.0, state)


def plan(**knobs: Any) -> Any:
    return plan_of(Through(range(10), **knobs))


@pytest.mark.parametrize(("before", "borne"), [(0, 2), (1, 1), (2, 0)])
def test_a_job_bears_no_more_failures_in_many_lives_than_in_one(tmp_path: Path, before: int, borne: int) -> None:
    budget = budget_of(plan(max_failures=2), a_job(tmp_path, before))
    spent = [budget.spend(1, 1) for _ in range(borne + 1)]
    assert spent == [*[False] * borne, True]


def test_a_run_that_is_no_job_begins_with_all_it_bears() -> None:
    assert not budget_of(plan(max_failures=1), None).spend(1, 1)


@pytest.mark.parametrize(
    ("order", "whole"), [("input", False), ("completion", True), (lambda record: record % 2, True)]
)
def test_in_another_order_than_the_feed_s_children_are_handed_on_together(
    tmp_path: Path, order: Any, whole: bool
) -> None:
    assert hands_on_whole(plan(order=order), a_job(tmp_path, 0)) is whole
    assert not hands_on_whole(plan(order=order), None)
