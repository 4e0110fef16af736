"""The life of a backlog: every legal turn, and that any other raises and changes nothing."""

from __future__ import annotations

import pytest

from pipeframe_async import InternalError
from pipeframe_async._rules.backlog_life import BacklogLife, BacklogState

FILLING, OPEN = BacklogState.FILLING, BacklogState.OPEN
ENDED, ABORTING, ABORTED = BacklogState.ENDED, BacklogState.ABORTING, BacklogState.ABORTED

TURNS: dict[tuple[BacklogState, str], BacklogState] = {
    (FILLING, "end"): ENDED,
    (OPEN, "end"): ENDED,
    (ABORTING, "end"): ABORTED,
    (FILLING, "abort"): ABORTING,
    (OPEN, "abort"): ABORTING,
    (ABORTING, "abort"): ABORTING,
    (ENDED, "abort"): ABORTED,
    (ABORTED, "abort"): ABORTED,
}
"""What each verb turns each state to. Any other pair is a bug of ours."""

EVERY = [(state, verb) for state in BacklogState for verb in ("end", "abort")]


def a_life(state: BacklogState) -> BacklogLife:
    """Led there by its verbs."""
    life = BacklogLife(whole=state is FILLING)
    for verb in {ENDED: ["end"], ABORTING: ["abort"], ABORTED: ["abort", "end"]}.get(state, []):
        getattr(life, verb)()
    assert life.state is state
    return life


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: f"{turn[0].value} {turn[1]}")
def test_a_legal_turn_leads_where_the_table_says(turn: tuple[BacklogState, str]) -> None:
    state, verb = turn
    life = a_life(state)
    getattr(life, verb)()
    assert life.state is TURNS[turn]


@pytest.mark.parametrize("turn", [turn for turn in EVERY if turn not in TURNS], ids=lambda t: f"{t[0].value} {t[1]}")
def test_any_other_turn_raises_and_changes_nothing(turn: tuple[BacklogState, str]) -> None:
    state, verb = turn
    life = a_life(state)
    with pytest.raises(InternalError, match=f"a backlog that is {state.value} cannot {verb}"):
        getattr(life, verb)()
    assert life.state is state


def test_only_a_second_end_is_illegal() -> None:
    assert [turn for turn in EVERY if turn not in TURNS] == [(ENDED, "end"), (ABORTED, "end")]


@pytest.mark.parametrize(("whole", "state"), [(True, FILLING), (False, OPEN)])
def test_a_batch_feed_fills_and_a_stream_is_open(whole: bool, state: BacklogState) -> None:
    assert BacklogLife(whole=whole).state is state


@pytest.mark.parametrize(
    ("state", "may_take", "ended"),
    [
        (FILLING, False, False),
        (OPEN, True, False),
        (ENDED, True, True),
        (ABORTING, False, False),
        (ABORTED, False, True),
    ],
)
def test_each_state_says_whether_records_may_be_taken_and_whether_more_will_come(
    state: BacklogState, may_take: bool, ended: bool
) -> None:
    life = a_life(state)
    assert (life.may_take, life.ended) == (may_take, ended)
