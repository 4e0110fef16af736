"""On which workers the next lanes are."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.placing import places

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5))


def test_the_emptiest_worker_is_next() -> None:
    assert places({"a": 4, "b": 2}, {}, 3) == ["a", "a", "a"]
    assert places({"a": 2, "b": 2}, {}, 3) == ["a", "b", "a"]
    assert places({"a": 2, "b": 2}, {"a": 1}, 2) == ["b", "a"]


def test_where_there_are_no_threads_there_is_no_place() -> None:
    assert places({}, {}, 3) == []
    assert places({"a": 1}, {"a": 1, "gone": 2}, 3) == []


@given(COUNTS, COUNTS, st.integers(0, 40))
def test_no_thread_has_two_lanes_and_none_is_left_while_one_is_wanted(
    threads: dict[str, int], taken: dict[str, int], wanted: int
) -> None:
    found = places(threads, taken, wanted)
    free = {name: max(0, count - taken.get(name, 0)) for name, count in threads.items()}
    assert all(count <= free[name] for name, count in Counter(found).items())
    assert len(found) == min(wanted, sum(free.values()))
