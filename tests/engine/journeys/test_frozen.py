"""Values kept from changes: in bytes where a step could change them, as they are where none can."""

from __future__ import annotations

from typing import Any

import pytest

from pipeframe_async import share
from pipeframe_async._engine.journeys.frozen import Frozen, freeze, thaw
from pipeframe_async.executors.packing import Packing

CODEC = Packing()


class Unreadable:
    def __reduce__(self) -> Any:
        return _cannot_be_read, ()


def _cannot_be_read() -> None:
    raise OSError("cannot be read")


def test_what_comes_back_is_as_it_was_whatever_a_step_did_meanwhile() -> None:
    value = {"a": [1]}
    frozen = freeze(value, CODEC, "step")
    value["a"].append(2)
    assert thaw(frozen, CODEC) == {"a": [1]}


def test_each_thaw_makes_another_object() -> None:
    frozen = freeze([1], CODEC, "step")
    assert thaw(frozen, CODEC) is not thaw(frozen, CODEC)


@pytest.mark.parametrize("value", ["text", b"bytes", 7, 7.5, True, 1j, None, share([1])])
def test_what_no_step_can_change_stays_itself(value: Any) -> None:
    assert freeze(value, CODEC, "step") is value
    assert thaw(value, CODEC) is value


def test_a_value_that_may_be_changed_by_a_subclass_is_no_plain_one() -> None:
    class Text(str): ...

    assert freeze(Text("a"), CODEC, "step") == "a"  # a local class has no pickle: it stays itself
    assert isinstance(freeze(["a"], CODEC, "step"), Frozen)


def test_what_is_frozen_is_not_frozen_twice() -> None:
    frozen = freeze([1], CODEC, "step")
    assert freeze(frozen, CODEC, "step") is frozen


def test_a_value_without_a_pickle_stays_itself() -> None:
    value = [lambda: None]
    assert freeze(value, CODEC, "step") is value


def test_a_value_whose_bytes_could_not_bring_it_back_stays_itself() -> None:
    value = Unreadable()
    assert freeze(value, CODEC, "step") is value


def test_bytes_that_cannot_be_read_any_more_stand_for_the_value() -> None:
    assert thaw(Frozen(b"no pickle"), CODEC) == b"no pickle"
