"""Waits: how long each waited to a millisecond, and since when the oldest has no outcome, in fixed memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.waits import GRAIN, MOST_AGES, MOST_WAITING, Waits


def test_a_record_waits_from_the_mark_behind_it_until_it_is_taken() -> None:
    waits = Waits()
    waits.fed(10, 1.0)
    waits.fed(20, 2.0)
    waits.taken(0, 15, 4.0)
    waits.taken(15, 20, 5.0)
    seen = waits.spread.histogram()
    assert seen.count == 20
    assert seen.sum == pytest.approx(10 * 3.0 + 5 * 2.0 + 5 * 3.0)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 0.01)), max_size=200), st.integers(1, 40))
def test_whatever_is_fed_and_taken_is_counted_once(fed: list[tuple[int, float]], most: int) -> None:
    waits, end, now = Waits(), 0, 0.0
    for records, later in fed:
        end, now = end + records, now + later
        waits.fed(end, now)
    for first in range(0, end, most):
        waits.taken(first, min(end, first + most), now)
    assert waits.spread.histogram().count == end
    assert not waits._waiting.marks or waits._waiting.marks[-1][0] == end


def test_marks_that_wait_are_a_grain_apart_whatever_comes() -> None:
    waits = Waits()
    for at in range(100_000):
        waits.fed(at + 1, at * GRAIN / 1000)
    assert len(waits._waiting.marks) <= 101


@given(st.lists(st.floats(0, 100), min_size=1, max_size=3_000), st.data())
def test_the_age_of_the_oldest_is_never_too_small_and_takes_fixed_memory(
    pauses: list[float], data: st.DataObject
) -> None:
    waits, now, times = Waits(), 0.0, []
    for at, pause in enumerate(pauses):
        now += pause
        waits.fed(at + 1, now)
        times.append(now)
    assert len(waits._ages.marks) <= MOST_AGES
    position = data.draw(st.integers(0, len(pauses) - 1))
    since = waits.since(position)
    assert since is not None
    assert since <= times[position]
    assert times[position] - since <= max(0.02 * now, GRAIN)


def test_a_feed_of_hours_that_nobody_takes_from_has_so_many_marks_and_waits_are_never_too_short() -> None:
    waits = Waits()
    for at in range(50_000):
        waits.fed(at + 1, at / 10)
    assert len(waits._waiting.marks) <= MOST_WAITING
    waits.taken(0, 50_000, 6_000.0)
    seen = waits.spread.histogram()
    assert seen.count == 50_000
    assert sum(6_000.0 - at / 10 for at in range(50_000)) <= seen.sum <= 1.01 * 50_000 * 3_500


def test_what_is_settled_needs_no_marks() -> None:
    waits = Waits()
    for at in range(100):
        waits.fed(at + 1, float(at))
    waits.settled(90)
    assert waits.since(90) == 90.0
    assert len(waits._ages.marks) == 10
    waits.settled(100)
    assert waits.since(100) is None
