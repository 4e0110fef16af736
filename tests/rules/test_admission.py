"""Whether a call is let in: by how many wait, and by how long it would."""

from __future__ import annotations

import pickle
from math import inf

import pytest

from pipeframe_async._rules.admission import LATELY, LEAST_RETRY, UNKNOWN_RETRY, Lately, Pace, late, refusal


def test_a_call_is_let_in_where_there_is_a_place_and_it_is_predicted_to_begin_in_time() -> None:
    assert refusal("P", waiting=9, most=10, wait=1.0, deadline=1.0) is None
    assert refusal("P", waiting=9, most=10, wait=1e9, deadline=None) is None
    assert refusal("P", waiting=0, most=1, wait=0.0, deadline=1e-9) is None


def test_a_call_that_would_wait_past_its_deadline_is_refused_and_told_when_to_come_again() -> None:
    refused = refusal("Score", waiting=120, most=1000, wait=2.4, deadline=0.5)
    assert refused is not None
    assert refused.retry_after == pytest.approx(1.9)
    for words in ("Score is overloaded", "predicted wait 2.4 s", "deadline of 0.5 s", "120 calls wait", "Retry-After"):
        assert words in str(refused)


def test_a_full_queue_refuses_whatever_the_deadline() -> None:
    for deadline in (None, 1e9):
        refused = refusal("P", waiting=1000, most=1000, wait=4.0, deadline=deadline)
        assert refused is not None
        assert refused.retry_after == pytest.approx(2.0)
        assert "1,000 calls wait, and no more may (call_queue=1,000)" in str(refused)


def test_nobody_is_told_to_come_again_at_once() -> None:
    soon = refusal("P", waiting=1, most=9, wait=0.5001, deadline=0.5)
    full = refusal("P", waiting=9, most=9, wait=0.001, deadline=None)
    unknown = refusal("P", waiting=9, most=9, wait=0.0, deadline=None)
    assert soon is not None
    assert full is not None
    assert unknown is not None
    assert (soon.retry_after, full.retry_after, unknown.retry_after) == (LEAST_RETRY, LEAST_RETRY, UNKNOWN_RETRY)


def test_one_that_was_not_begun_in_time_says_so_and_survives_pickling() -> None:
    error = late("P", waiting=3, wait=0.7, deadline=0.5)
    assert "has waited for its deadline of 0.5 s, and was not begun" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.retry_after) == (str(error), pytest.approx(0.2))
    assert late("P", waiting=3, wait=0.0, deadline=0.5).retry_after == UNKNOWN_RETRY


def test_what_a_call_takes_is_measured_by_kind_of_place() -> None:
    pace = Pace()
    assert pace.seconds == ()
    pace.answered(10, [1.0, 5.0])
    assert pace.seconds == pytest.approx([0.1, 0.5])
    for turn in range(1, 200):
        pace.answered(10, [1.0 + 1.5 * turn, 5.0 + 5.0 * turn])
    assert pace.seconds == pytest.approx([0.15, 0.5], rel=0.01)


def test_one_long_call_is_not_taken_for_all_and_many_are() -> None:
    pace, spent = Pace(), 0.0
    for seconds in [0.02] * 50:
        pace.answered(1, [spent := spent + seconds])
    pace.answered(1, [spent := spent + 0.2])
    assert pace.seconds[0] < 0.03
    for seconds in [0.2] * 20:
        pace.answered(1, [spent := spent + seconds])
    assert pace.seconds[0] > 0.12


def test_the_least_of_late_is_forgotten_after_a_while() -> None:
    lately = Lately()
    assert lately.least(0.0) == inf
    lately.say(0.5, 1.0)
    lately.say(0.7, 1.1)
    assert lately.least(1.0 + LATELY) == 0.5
    lately.say(0.7, 1.5 + LATELY)
    assert lately.least(1.9 + LATELY) == 0.5
    assert lately.least(1.4 + 2 * LATELY) == 0.7
    assert lately.least(9.0) == inf
