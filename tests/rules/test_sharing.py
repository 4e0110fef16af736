"""Whose turn it is, by plain calls; and what each has in the end, by any mix of batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.sharing import KEPT, MOST_EARNED, Share, Sharing, level


def calls(had: float = 0.0) -> Share:
    return Share(first=True, patient=True, had=had)


def bulk(had: float = 0.0) -> Share:
    return Share(patient=True, had=had)


def a_run(had: float = 0.0, batch_seconds: float = 0.0) -> Share:
    return Share(had=had, batch_seconds=batch_seconds)


def test_calls_go_before_bulk_calls_and_runs() -> None:
    sharing, in_front = Sharing(), calls()
    for behind in (bulk(), a_run()):
        assert sharing.favoured(behind, [in_front]) is in_front
        assert sharing.favoured(in_front, [behind]) is None


def test_who_is_alone_may_go() -> None:
    for one in (calls(), bulk(), a_run()):
        assert Sharing().favoured(one, []) is None


def test_those_behind_go_when_they_have_earned_a_batch() -> None:
    sharing, in_front, behind = Sharing(), calls(), a_run(batch_seconds=0.1)
    sharing.earn(0.8)
    assert sharing.favoured(behind, [in_front]) is in_front
    sharing.earn(0.2)
    assert sharing.favoured(behind, [in_front]) is None
    assert sharing.favoured(in_front, [behind]) is behind
    sharing.spend(0.1)
    assert sharing.favoured(in_front, [behind]) is None


def test_a_long_batch_goes_when_a_part_of_it_was_earned_and_pays_the_rest_afterwards() -> None:
    sharing, in_front, behind = Sharing(), calls(), a_run(batch_seconds=100.0)
    sharing.earn(MOST_EARNED * (1 - KEPT) / KEPT)
    assert sharing.favoured(behind, [in_front]) is None
    sharing.spend(100.0)
    sharing.earn(800.0)  # no more is saved up than that, however much is owed
    assert sharing.earned <= MOST_EARNED
    assert sharing.favoured(behind, [in_front]) is in_front


def test_of_pipelines_that_are_called_the_one_goes_that_has_had_less() -> None:
    sharing, one, two = Sharing(), calls(1.0), calls(2.0)
    assert sharing.favoured(one, [two]) is None
    assert sharing.favoured(two, [one]) is one
    two.had = 1.0
    assert sharing.favoured(one, [two]) is sharing.favoured(two, [one]) is None


def test_a_run_that_has_had_as_much_lets_bulk_calls_go_and_runs_take_turns_by_themselves() -> None:
    sharing, patient, run = Sharing(), bulk(1.0), a_run(1.0)
    assert sharing.favoured(run, [patient]) is patient
    assert sharing.favoured(patient, [run]) is None
    run.had = 0.5
    assert sharing.favoured(run, [patient]) is None
    assert sharing.favoured(patient, [run]) is None  # it only takes what is idle, and the run does not wait for that
    assert sharing.favoured(run, [a_run()]) is None


def test_who_comes_anew_starts_level_with_its_kind() -> None:
    one, equal, other = calls(3.0), calls(7.0), a_run(9.0)
    level(one, [equal, other])
    assert (one.had, equal.had, other.had) == (7.0, 7.0, 9.0)


def test_what_was_worked_is_counted_and_of_a_batch_the_mean_is_kept() -> None:
    share = a_run()
    share.worked(1.0)
    share.worked(2.0)
    assert (share.had, share.seconds) == (3.0, 3.0)
    assert share.batch_seconds == pytest.approx(1.2)


shares = st.builds(
    Share,
    first=st.booleans(),
    patient=st.booleans(),
    had=st.floats(0, 10),
    batch_seconds=st.floats(0, 10),
)


@given(everybody=st.lists(shares, min_size=1, max_size=6), earned=st.floats(-5, MOST_EARNED))
def test_there_is_always_one_who_may_go(everybody: list[Share], earned: float) -> None:
    """Else a lane would stand still, with all of them waiting for each other."""
    sharing = Sharing()
    sharing.earned = earned
    assert any(sharing.favoured(one, [other for other in everybody if other is not one]) is None for one in everybody)


@given(everybody=st.lists(shares, min_size=1, max_size=6), earned=st.floats(-5, MOST_EARNED), start=st.integers(0, 5))
def test_who_is_sent_to_others_comes_to_one_who_may_go(everybody: list[Share], earned: float, start: int) -> None:
    """Each tells the one that it waits for to look: that must not go in a circle."""
    sharing = Sharing()
    sharing.earned = earned
    one = everybody[start % len(everybody)]
    for _ in range(2 * len(everybody) + 1):
        favoured = sharing.favoured(one, [other for other in everybody if other is not one])
        if favoured is None:
            return
        one = favoured
    raise AssertionError("in a circle")


@given(
    call=st.lists(st.floats(0.001, 0.05), min_size=1, max_size=20),
    batch=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=20),
)
def test_while_calls_never_end_a_tenth_is_kept_and_no_more(call: list[float], batch: list[float]) -> None:
    """One worker, and both always want it: after 200 s the run has a tenth, but for a batch."""
    sharing, in_front, behind = Sharing(), calls(), a_run()
    at = 0
    while in_front.seconds + behind.seconds < 200.0:
        if sharing.favoured(behind, [in_front]) is None:
            seconds = batch[at % len(batch)]
            behind.worked(seconds)
            sharing.spend(seconds)
        else:
            assert sharing.favoured(in_front, [behind]) is None
            seconds = call[at % len(call)]
            in_front.worked(seconds)
            sharing.earn(seconds)
        at += 1
    total = in_front.seconds + behind.seconds
    assert abs(behind.seconds - KEPT * total) <= 2 * max(MOST_EARNED, *batch)
