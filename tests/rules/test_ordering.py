"""Answers leave in feed order or at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.ordering import AsFed, AsFinished
from pipeframe_async.errors import InternalError

ARRIVALS = st.integers(0, 40).flatmap(lambda n: st.permutations(range(n)))


@given(ARRIVALS)
def test_whatever_the_arrival_items_leave_in_the_order_of_their_numbers(arrivals: list[int]) -> None:
    sequencer: AsFed[str] = AsFed()
    left = [item for number in arrivals for item in sequencer.offer(number, 1, f"item {number}")]
    assert left == [f"item {number}" for number in range(len(arrivals))]
    assert len(sequencer) == 0


@given(ARRIVALS)
def test_an_item_leaves_as_soon_as_all_before_it_have_come(arrivals: list[int]) -> None:
    sequencer: AsFed[int] = AsFed()
    come: set[int] = set()
    gone = 0
    for number in arrivals:
        come.add(number)
        gone += len(sequencer.offer(number, 1, number))
        unbroken = next(n for n in range(len(come) + 1) if n not in come)
        assert (gone, len(sequencer)) == (unbroken, len(come) - unbroken)


@given(ARRIVALS)
def test_where_order_does_not_matter_each_item_leaves_at_once(arrivals: list[int]) -> None:
    sequencer: AsFinished[int] = AsFinished()
    for number in arrivals:
        assert sequencer.offer(number, 1, number) == [number]
        assert len(sequencer) == 0


@pytest.mark.parametrize("again", [0, 2])
def test_an_item_that_comes_twice_is_an_error_of_ours_and_changes_nothing(again: int) -> None:
    sequencer: AsFed[str] = AsFed()
    sequencer.offer(0, 1, "a")
    sequencer.offer(2, 1, "c")
    with pytest.raises(InternalError, match=f"position {again} was offered twice"):
        sequencer.offer(again, 1, "other")
    assert sequencer.offer(1, 1, "b") == ["b", "c"]


@given(st.lists(st.integers(0, 3), max_size=12), st.randoms())
def test_what_comes_of_a_record_before_its_end_leaves_when_all_before_it_has(ahead: list[int], chance: Any) -> None:
    streams = [
        [(position, 0, part) for part in range(parts)] + [(position, 1, parts)] for position, parts in enumerate(ahead)
    ]
    sequencer: AsFed[tuple[int, int]] = AsFed()
    left: list[tuple[int, int]] = []
    while streams:
        position, count, part = (stream := chance.choice(streams)).pop(0)
        if not stream:
            streams.remove(stream)
        left += sequencer.offer(position, count, (position, part))
    assert left == [(position, part) for position, parts in enumerate(ahead) for part in range(parts + 1)]
    assert len(sequencer) == 0
