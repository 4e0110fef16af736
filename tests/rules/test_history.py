"""History: the shape of any length of time, in so many points."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.history import POINTS, History


def test_points_are_taken_as_they_are_due_and_the_last_in_any_case() -> None:
    history: History[int] = History(apart=1.0)
    for tenth in range(25):
        history.add(tenth / 10, tenth)
    history.add(2.45, 99, last=True)
    assert [value for _, value in history] == [0, 9, 18, 99]


@given(st.integers(0, 20_000))
def test_however_long_it_lasts_it_begins_at_the_beginning_and_ends_at_the_end(looks: int) -> None:
    history: History[int] = History(apart=0.5)
    for look in range(looks):
        history.add(look / 2, look)
    history.add(looks / 2, looks, last=True)
    assert len(history) <= POINTS
    assert (history[0][1], history[-1][1]) == (0, looks)
    assert all(earlier < later for earlier, later in pairwise(when for when, _ in history))


def test_a_long_one_is_spread_evenly() -> None:
    history: History[int] = History(apart=0.5)
    for look in range(100_000):
        history.add(look / 2, look)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(history)]
    assert len(history) > POINTS // 3
    assert max(gaps[1:-1]) <= 4 * min(gaps[1:-1])
