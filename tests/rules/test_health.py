"""Health: what stands still without a reason is not live, and what cannot take more is not ready."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeframe_async._rules.health import BLOCKED_SECONDS, PATIENT, health
from pipeframe_async.stats import EndedBy, Health, RunState, RunStats, Stats, WorkerStats

IDLE = WorkerStats("lane 0", "idle")
RUN = RunStats("Orders", counts=Stats(fed=10, in_flight=10), waits_for="a lane", oldest=70.0, quiet=70.0)


def of(*runs: RunStats, blocked: float = 0.0, workers: tuple[WorkerStats, ...] = (IDLE,), **more: bool) -> Health:
    return health(Stats(runs=runs, workers=workers), stall_after=60.0, blocked=blocked, **more)


def test_a_frame_with_nothing_to_do_is_live_and_ready() -> None:
    assert of() == Health(True, True)


def test_a_run_that_moves_is_live_and_ready() -> None:
    assert of(replace(RUN, quiet=59.0)) == Health(True, True, "", 70.0, 59.0)


def test_a_run_that_stands_still_is_not_live_and_says_where() -> None:
    found = of(RUN)
    assert (found.live, found.ready) == (False, False)
    assert found.reason == "Orders has stood still for 70 s with 10 in flight, waiting for a lane"


@pytest.mark.parametrize("waits_for", sorted(PATIENT))
def test_waiting_for_what_a_restart_would_not_mend_is_a_reason(waits_for: str) -> None:
    assert of(replace(RUN, waits_for=waits_for)).live


@pytest.mark.parametrize("waits_for", ["a hook", "the disk", "", "a lane", "an async step"])
def test_waiting_for_anything_else_is_none(waits_for: str) -> None:
    assert not of(replace(RUN, waits_for=waits_for)).live


def test_a_record_inside_its_time_limit_counts_as_progress() -> None:
    assert of(replace(RUN, time_limit=600.0)).live
    assert not of(replace(RUN, time_limit=600.0, quiet=601.0)).live
    assert not of(replace(RUN, time_limit=600.0, waits_for="a hook")).live


def test_one_that_has_nothing_in_flight_may_stand_for_ever() -> None:
    assert of(replace(RUN, counts=Stats(fed=10, delivered=10), waits_for="")).live
    assert not of(replace(RUN, counts=Stats(fed=10, spilled=10), waits_for="")).live


def test_one_of_many_runs_that_stands_still_is_enough() -> None:
    assert not of(replace(RUN, pipeline="Other", quiet=0.0), RUN).live


def test_a_run_that_has_ended_is_not_looked_at() -> None:
    assert of(replace(RUN, state="closed")) == Health(True, True)


def test_a_blocked_loop_is_not_ready_at_first_and_not_live_in_the_end() -> None:
    assert of(blocked=BLOCKED_SECONDS).ready
    assert of(blocked=8.0) == Health(True, False, "the event loop has been blocked for 8 s", None, 8.0)
    assert of(blocked=61.0) == Health(False, False, "the event loop has been blocked for 61 s", None, 61.0)


@pytest.mark.parametrize("state", ["starting", "restarting", "stopped"])
def test_without_a_worker_that_is_up_it_is_live_and_not_ready(state: RunState) -> None:
    down = WorkerStats("lane 0", state, restarts={"crashed": 3})  # type: ignore[arg-type]
    assert of(workers=(down, down)) == Health(True, False, f"no worker is up: {state}")
    assert of(workers=(down, IDLE)).ready


def test_workers_that_nobody_has_asked_for_yet_are_no_reason() -> None:
    assert of(workers=(WorkerStats("lane 0", "stopped"),)).ready


def test_while_its_broker_is_away_it_is_live_and_not_ready() -> None:
    away = replace(RUN, counts=Stats(away=True), waits_for="the feed")
    assert of(away) == Health(True, False, "the source of Orders is away", 70.0, 70.0)


def test_one_that_drains_is_not_ready_unless_another_takes_more() -> None:
    draining = replace(RUN, state="draining", ended_by="exhausted", quiet=0.0)
    assert of(draining, opened=False).reason == "the feed of Orders has ended"
    assert of(draining, replace(RUN, quiet=0.0), opened=False).ready
    assert of(draining).ready  # of an open frame


@pytest.mark.parametrize("why", ["stopped", "failed"])
def test_one_that_is_stopping_is_not_ready(why: EndedBy) -> None:
    stopping = replace(RUN, state="draining", ended_by=why, quiet=0.0)
    assert of(stopping, replace(RUN, quiet=0.0)).reason == "Orders is stopping"


def test_one_that_refuses_calls_or_is_closed_is_not_ready() -> None:
    assert of(refusing=True) == Health(True, False, "calls are refused")
    assert of(opened=False) == Health(True, False, "the frame is not open, and nothing runs")
