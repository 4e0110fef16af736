"""When the next worker may be started, and when there is no sense in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.restarts import FIRST_DELAY, FOREIGN_WEIGHT, MOST_DELAY, MOST_IN_VAIN, PAUSE, Restarts


def after(deaths: int, *, foreign: bool = False) -> Restarts:
    restarts = Restarts()
    for _ in range(deaths):
        restarts.in_vain(0.0, foreign=foreign)
    return restarts


def test_the_first_start_is_made_at_once() -> None:
    assert (Restarts().delay, Restarts().hopeless(0.0)) == (0.0, False)


def test_the_delay_doubles_with_each_worker_that_died_in_vain() -> None:
    delays = [after(deaths).delay for deaths in range(1, MOST_IN_VAIN)]
    assert delays == [FIRST_DELAY * 2**n for n in range(MOST_IN_VAIN - 1)]


def test_it_is_hopeless_after_so_many_in_a_row() -> None:
    assert [after(deaths).hopeless(0.0) for deaths in range(MOST_IN_VAIN + 2)] == [False] * MOST_IN_VAIN + [True] * 2


def test_a_worker_that_has_worked_makes_all_well() -> None:
    restarts = after(MOST_IN_VAIN - 1)
    restarts.worked()
    assert (restarts.delay, restarts.hopeless(0.0)) == (0.0, False)
    for _ in range(MOST_IN_VAIN - 1):
        restarts.in_vain(0.0)
        assert not restarts.hopeless(0.0)
    restarts.in_vain(0.0)
    assert restarts.hopeless(0.0)


def test_being_killed_from_outside_says_little_about_the_start() -> None:
    few, many = int(1 / FOREIGN_WEIGHT), int(MOST_IN_VAIN / FOREIGN_WEIGHT)
    assert after(few - 1, foreign=True).delay == 0.0
    assert not after(many - 1, foreign=True).hopeless(0.0)
    assert after(many + 1, foreign=True).hopeless(0.0)


@given(st.lists(st.sampled_from(["own", "foreign", "worked"]), max_size=80))
def test_the_delay_is_bounded_and_grows_only_by_deaths(history: list[str]) -> None:
    restarts, row = Restarts(), 0.0
    for event in history:
        before = restarts.delay
        match event:
            case "worked":
                restarts.worked()
                row = 0.0
                assert restarts.delay == 0.0
            case _:
                restarts.in_vain(0.0, foreign=event == "foreign")
                row += FOREIGN_WEIGHT if event == "foreign" else 1
                assert before <= restarts.delay or row >= MOST_IN_VAIN
        assert restarts.delay <= MOST_DELAY
        assert restarts.hopeless(0.0) == (row >= MOST_IN_VAIN)


@pytest.mark.parametrize("deaths", [100, 1000])
def test_after_the_pause_nobody_waits_longer_however_many_died(deaths: int) -> None:
    assert after(deaths).delay == 0.0


def test_after_a_pause_one_is_tried_and_then_the_next_pause_begins() -> None:
    restarts = after(MOST_IN_VAIN)
    assert restarts.hopeless(PAUSE - 0.01)
    assert not restarts.hopeless(PAUSE)
    assert restarts.delay == 0.0  # it has waited long enough
    restarts.in_vain(PAUSE + 5)
    assert restarts.hopeless(PAUSE + 5.5)
    assert not restarts.hopeless(2 * PAUSE + 5)
    restarts.worked()
    assert not restarts.hopeless(PAUSE + 5.5)
