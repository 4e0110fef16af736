"""Within its key an answer waits for those before it; keys do not wait for each other."""

from __future__ import annotations

import gc
import weakref
from collections import defaultdict
from collections.abc import Hashable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.ordering import AsFedByKey
from pipeframe_async.errors import InternalError


@given(st.lists(st.integers(0, 4), max_size=60), st.randoms(use_true_random=False))
def test_an_answer_leaves_when_all_before_it_in_its_key_have_come(keys: list[int], random: Any) -> None:
    lines: AsFedByKey[int] = AsFedByKey()
    of_key: dict[int, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        lines.expect(position, key)
        of_key[key].append(position)
    arrivals = list(range(len(keys)))
    random.shuffle(arrivals)
    come, left = set[int](), list[int]()
    for position in arrivals:
        come.add(position)
        left += lines.offer(position, 1, position)
        may_leave = set()
        for line in of_key.values():
            for before in line:
                if before not in come:
                    break
                may_leave.add(before)
        assert set(left) == may_leave
        assert len(lines) == len(come) - len(left)
    for key, line in of_key.items():
        assert [position for position in left if keys[position] == key] == line


def test_an_answer_nobody_expects_is_an_error_of_ours_and_changes_nothing() -> None:
    lines: AsFedByKey[str] = AsFedByKey()
    lines.expect(0, "a")
    lines.expect(1, "a")
    assert lines.offer(1, 1, "second") == []
    for position in (1, 7):
        with pytest.raises(InternalError, match=f"position {position} was offered twice, or never expected"):
            lines.offer(position, 1, "other")
    assert lines.offer(0, 1, "first") == ["first", "second"]


KEYS = st.lists(st.sampled_from(["a", "b", (1, 2), 0]), max_size=25)


@given(KEYS, st.randoms(use_true_random=False))
def test_wrong_offers_between_the_right_ones_change_nothing(keys: list[Hashable], random: Random) -> None:
    lines: AsFedByKey[int] = AsFedByKey()
    expected, held = dict[int, Hashable](), set[int]()  # not yet offered; offered, and still there
    coming = list(enumerate(keys))
    while coming or expected:
        for wrong in (-1, len(keys), *(position for position in range(len(keys)) if position not in expected)):
            with pytest.raises(InternalError, match=f"position {wrong} was offered twice, or never expected"):
                lines.offer(wrong, 1, wrong)
        if coming and (not expected or random.random() < 0.5):
            position, key = coming.pop(0)
            lines.expect(position, key)
            expected[position] = key
            continue
        position = random.choice(list(expected))
        key = expected.pop(position)
        held.add(position)
        first_missing = min((at for at, other in expected.items() if other == key), default=len(keys))
        leave = sorted(at for at in held if keys[at] == key and at < first_missing)
        assert lines.offer(position, 1, position) == leave
        held -= set(leave)
        assert len(lines) == len(held)
    assert not held


def test_a_key_whose_records_are_all_out_begins_anew() -> None:
    lines: AsFedByKey[str] = AsFedByKey()
    for position in (0, 5):
        lines.expect(position, "a")
        assert lines.offer(position, 1, f"item {position}") == [f"item {position}"]


class Key:
    """A key that can be watched."""


def test_a_key_is_let_go_when_the_last_of_its_records_is_out() -> None:
    lines: AsFedByKey[str] = AsFedByKey()
    key = Key()
    lines.expect(0, key)
    lines.expect(1, key)
    gone = weakref.ref(key)
    del key
    lines.offer(1, 1, "second")
    gc.collect()
    assert gone() is not None
    lines.offer(0, 1, "first")
    gc.collect()
    assert gone() is None


def test_an_answer_for_more_than_one_record_is_an_error_of_ours_and_changes_nothing() -> None:
    lines: AsFedByKey[str] = AsFedByKey()
    lines.expect(0, "a")
    with pytest.raises(InternalError):
        lines.offer(0, 2, "two")
    assert lines.offer(0, 1, "one") == ["one"]


def test_an_answer_nobody_expects_is_an_error_also_while_records_of_key_none_are_there() -> None:
    lines: AsFedByKey[str] = AsFedByKey()
    lines.expect(0, None)
    with pytest.raises(InternalError, match="position 7 was offered twice, or never expected"):
        lines.offer(7, 1, "other")


def test_a_second_answer_for_a_record_of_key_none_does_not_take_the_place_of_the_first() -> None:
    lines: AsFedByKey[str] = AsFedByKey()
    lines.expect(0, None)
    lines.expect(1, None)
    assert lines.offer(1, 1, "second") == []
    with pytest.raises(InternalError, match="position 1 was offered twice, or never expected"):
        lines.offer(1, 1, "other")
    assert lines.offer(0, 1, "first") == ["first", "second"]
