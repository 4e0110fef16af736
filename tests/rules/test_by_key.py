"""Within its key an answer waits for those before it; keys do not wait for each other."""

from __future__ import annotations

from collections import defaultdict
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
