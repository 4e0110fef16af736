"""A key has one lane for as long as it has records in flight, and keys are spread over the lanes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.affinity import Affinity
from pipeframe_async.errors import InternalError


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=200))
def test_a_key_keeps_its_lane_until_its_last_record_is_out(lanes: int, moves: list[tuple[int, bool]]) -> None:
    affinity, in_flight, lane_of = Affinity(lanes), Counter[int](), dict[int, int]()
    for key, leaves in moves:
        if leaves and in_flight[key]:
            affinity.leave(key)
            in_flight[key] -= 1
            continue
        load = Counter(dict.fromkeys(range(lanes), 0))
        for other, count in in_flight.items():
            if count:
                load[lane_of[other]] += count
        lane = affinity.enter(key)
        assert lane == lane_of[key] if in_flight[key] else load[lane] == min(load.values())
        lane_of[key] = lane
        in_flight[key] += 1


def test_a_key_that_is_not_in_flight_cannot_leave() -> None:
    affinity = Affinity(2)
    affinity.enter("a")
    affinity.leave("a")
    for key in ("a", "b"):
        with pytest.raises(InternalError, match="is in flight"):
            affinity.leave(key)


@given(st.integers(1, 5), st.lists(st.sampled_from([None, 0, "a", (1, 2)]), max_size=40))
def test_what_may_not_leave_changes_nothing(lanes: int, keys: list[Hashable]) -> None:
    disturbed, left_alone = Affinity(lanes), Affinity(lanes)
    for key in keys:
        for other in {None, 0, "a", (1, 2), "never"} - set(keys):
            with pytest.raises(InternalError, match="is in flight"):
                disturbed.leave(other)
        assert disturbed.enter(key) == left_alone.enter(key)


def test_a_new_key_goes_to_the_first_of_the_emptiest_lanes() -> None:
    affinity = Affinity(3)
    assert [affinity.enter(key) for key in "aabc"] == [0, 0, 1, 2]
    affinity.leave("a")
    affinity.leave("c")
    assert affinity.enter("d") == 2
