"""When records that wait behind a slow one are moved."""

from __future__ import annotations

from pipeframe_async._rules.relief import HELD_SECONDS, Relief


def test_a_batch_is_held_up_that_has_waited_behind_the_same_for_long() -> None:
    relief = Relief()
    assert not relief.held_up(1, (7, 3), 0.0)
    assert not relief.held_up(1, (7, 3), HELD_SECONDS / 2)
    assert relief.held_up(1, (7, 3), 2 * HELD_SECONDS)


def test_one_that_goes_on_is_not() -> None:
    relief = Relief()
    for at in range(10):
        assert not relief.held_up(1, (7, at), 10.0 + at)


def test_one_that_waits_behind_nothing_any_more_begins_anew() -> None:
    relief = Relief()
    assert not relief.held_up(1, (7, 3), 10.0)
    assert not relief.held_up(1, None, 10.5)
    assert not relief.held_up(1, (7, 3), 11.0)
    assert relief.held_up(1, (7, 3), 12.0)


def test_what_is_over_is_forgotten() -> None:
    relief = Relief()
    assert not relief.held_up(1, (7, 3), 10.0)
    relief.over(1)
    assert not relief.held_up(1, (7, 3), 11.0)


def test_each_batch_has_its_own_time() -> None:
    relief = Relief()
    assert not relief.held_up(1, (7, 3), 10.0)
    assert not relief.held_up(2, (8, 0), 11.0)
    assert relief.held_up(1, (7, 3), 11.0)
