"""The life of a run is a table."""

from __future__ import annotations

from itertools import product

import pytest

from pipeframe_async._rules.lifecycle import TURNS, Lifecycle, State
from pipeframe_async.errors import InternalError
from pipeframe_async.stats import EndedBy


def in_state(state: State) -> Lifecycle:
    life = Lifecycle()
    if state is not State.FEEDING:
        life.drain("stopped")
    if state is State.CLOSED:
        life.close()
    assert life.state is state
    return life


def test_every_state_has_a_row_in_the_table() -> None:
    assert set(TURNS) == set(State)


@pytest.mark.parametrize(("state", "to"), list(product(State, State)))
def test_a_turn_that_is_not_in_the_table_raises_and_changes_nothing(state: State, to: State) -> None:
    life = in_state(state)
    if to in TURNS[state]:
        life._turn(to)
        assert life.state is to
    else:
        with pytest.raises(InternalError, match=f"{state.value} to {to.value}"):
            life._turn(to)
        assert life.state is state


def test_the_usual_way_is_feeding_draining_closed() -> None:
    life = Lifecycle()
    assert life.drain("idle")
    life.close()
    assert (life.state, life.ended_by) == (State.CLOSED, "idle")


def test_the_first_cause_to_end_the_feed_stands() -> None:
    life = Lifecycle()
    assert life.drain("idle")
    assert not life.drain("exhausted")
    assert life.ended_by == "idle"


def test_a_stop_outranks_the_end_of_the_feed_whichever_came_first() -> None:
    orders: list[tuple[EndedBy, EndedBy]] = [("exhausted", "stopped"), ("stopped", "exhausted"), ("idle", "stopped")]
    for first, second in orders:
        life = Lifecycle()
        life.drain(first)
        life.drain(second)
        assert life.ended_by == "stopped"


def test_a_failure_outranks_what_ended_the_feed_before_it() -> None:
    life = in_state(State.DRAINING)
    assert not life.drain("failed")
    assert (life.state, life.ended_by) == (State.DRAINING, "failed")


@pytest.mark.parametrize("why", ["exhausted", "idle", "stopped", "failed", "cancelled"])
def test_what_comes_after_the_end_changes_nothing(why: EndedBy) -> None:
    life = in_state(State.CLOSED)
    assert not life.drain(why)
    assert (life.state, life.ended_by) == (State.CLOSED, "stopped")


def test_a_cancelled_run_closes_without_draining() -> None:
    life = Lifecycle()
    life.close("cancelled")
    assert (life.state, life.ended_by) == (State.CLOSED, "cancelled")


def test_a_run_closes_once() -> None:
    life = in_state(State.CLOSED)
    with pytest.raises(InternalError):
        life.close("cancelled")
    assert life.ended_by == "stopped"
