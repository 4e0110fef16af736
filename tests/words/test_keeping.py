"""A record is kept so that it comes back as it was, or is only shown; a pickle is read for those who trust it alone."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async import Child, Failure, StateError
from pipeframe_async.keeping import Kept, given_back, kept, kept_again, shown

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
Pair = namedtuple("Pair", "one two")


@given(JSON)
def test_what_json_knows_is_kept_as_json(record: Any) -> None:
    one = kept(record)
    assert one.form == "json"
    back = given_back(one, trust=False)
    assert back == record
    assert repr(back) == repr(record)  # True is no 1, and 1 no 1.0


@pytest.mark.parametrize(
    "record", [(1, 2), {1: 2}, {"a": (1,)}, float("nan"), float("inf"), Pair(1, 2), OrderedDict(a=1), {1, 2}, 1j]
)
def test_what_json_would_change_is_a_pickle(record: Any) -> None:
    one = kept(record)
    assert one.form == "pickle"
    back = given_back(one, trust=True)
    assert (type(back), repr(back)) == (type(record), repr(record))
    with pytest.raises(StateError, match="trust=True"):
        given_back(one, trust=False)


@given(st.binary())
def test_bytes_are_bytes(record: bytes) -> None:
    assert kept(record) == Kept("bytes", record)
    assert given_back(kept(record), trust=False) == record


def test_what_cannot_be_kept_is_shown() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise OSError

    one = kept([Odd(), lambda: 1])
    assert one.form == "repr"
    assert b"Odd, whose repr raised OSError" in kept(Odd()).data or kept(Odd()).form == "repr"
    with pytest.raises(StateError, match="kept as a text only"):
        given_back(one, trust=True)


def test_what_contains_itself_or_is_nested_without_end_is_kept() -> None:
    itself: list[Any] = []
    itself.append(itself)
    assert kept(itself).form == "pickle"
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert kept(deep).form == "repr"


@pytest.mark.parametrize("record", [{"a": [1]}, b"text", b"\xff", (1, 2), lambda: 1])
def test_what_is_shown_as_json_can_be_kept_again(record: Any) -> None:
    value, form = json.loads(json.dumps(shown(kept(record))))
    again = kept_again(value, form)
    assert again.form == kept(record).form
    assert again.data == kept(record).data or form == "json"
    with pytest.raises(ValueError, match="no form 'other'"):
        kept_again(value, "other")


def test_a_failure_has_a_stable_form() -> None:
    failure = Failure(
        (1, 2), "price", "raised", "ValueError", "no", "Traceback", 3, Child((0, 2), b"raw"), "WARNING app: no"
    )
    told = json.loads(json.dumps(failure.as_dict()))
    assert told == {
        "record": told["record"],
        "record_form": "pickle",
        "step": "price",
        "kind": "raised",
        "error_type": "ValueError",
        "message": "no",
        "attempts": 3,
        "child": {"path": [0, 2], "value": "raw", "value_form": "text"},
        "traceback": "Traceback",
        "log": "WARNING app: no",
    }
    assert Failure(b"a line", "decode", "raised", "ValueError", "no").as_dict()["record"] == "a line"
