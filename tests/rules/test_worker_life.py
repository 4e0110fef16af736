"""The life of a worker is a table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from pipeframe_async._rules.worker_life import TURNS, State, WorkerLife
from pipeframe_async.errors import InternalError

VERBS: dict[State, Callable[[WorkerLife], None]] = {
    State.SERVING: WorkerLife.serve,
    State.RETIRING: WorkerLife.retire,
    State.ENDING: WorkerLife.end,
    State.GONE: WorkerLife.leave,
}
"""What turns a life to each state but the first."""

WAYS: dict[State, list[State]] = {
    State.STARTING: [],
    State.SERVING: [State.SERVING],
    State.RETIRING: [State.SERVING, State.RETIRING],
    State.ENDING: [State.SERVING, State.ENDING],
    State.GONE: [State.GONE],
}
"""How each state can be come to."""


def in_state(state: State) -> WorkerLife:
    life = WorkerLife()
    for turn in WAYS[state]:
        VERBS[turn](life)
    assert life.state is state
    return life


def test_every_state_has_a_row_in_the_table() -> None:
    assert set(TURNS) == set(State)


def test_the_table_is_this_one() -> None:
    """Said twice, so that a turn that is let in by mistake is seen."""
    assert {(a.value, b.value) for a, row in TURNS.items() for b in row} == {
        ("starting", "serving"),
        ("starting", "ending"),
        ("starting", "gone"),
        ("serving", "retiring"),
        ("serving", "ending"),
        ("retiring", "ending"),
        ("ending", "gone"),
    }


@pytest.mark.parametrize(("state", "to"), list(product(State, VERBS)))
def test_a_turn_that_is_not_in_the_table_raises_and_changes_nothing(state: State, to: State) -> None:
    life = in_state(state)
    if to in TURNS[state]:
        VERBS[to](life)
        assert life.state is to
    else:
        with pytest.raises(InternalError, match=f"{state.value} to {to.value}"):
            VERBS[to](life)
        assert life.state is state


def test_a_worker_that_is_worn_starts_serves_retires_ends_and_is_gone() -> None:
    life, seen = WorkerLife(), []
    for turn in (WorkerLife.serve, WorkerLife.retire, WorkerLife.end, WorkerLife.leave):
        turn(life)
        seen.append(life.state)
    assert seen == [State.SERVING, State.RETIRING, State.ENDING, State.GONE]


def test_no_worker_serves_twice() -> None:
    """From no state that comes after serving does a way lead back to it."""
    after, found = {State.SERVING}, {State.SERVING}
    while found:
        found = {to for state in found for to in TURNS[state]} - after
        after |= found
    assert all(State.SERVING not in TURNS[state] for state in after)
    assert State.GONE in after
