"""Guesses of a pickle's size: good to a factor of three, in a bounded number of looks, and without the value's code."""

from __future__ import annotations

import pickle
from array import array
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from pipeframe_async.weight import _of_some, weight


@dataclass
class Row:
    name: str
    data: bytes


@dataclass(slots=True)
class Tight:
    name: str
    data: bytes
    never: Any = None


class Slotted(Row):
    __slots__ = ("more",)

    def __init__(self) -> None:
        super().__init__("x", b"y")
        self.more = bytes(50_000)


class Private:
    __slots__ = ("__data",)

    def __init__(self) -> None:
        self.__data = bytes(50_000)


class Point(NamedTuple):
    name: str
    data: bytes


class Rows(list[bytes]):
    pass


class Name(str):
    pass


VALUES: dict[str, Any] = {
    "text": "x" * 5_000,
    "bytes": bytes(1_000_000),
    "numbers": list(range(1000, 5000)),
    "dicts": [{"id": i, "name": f"name {i}", "tags": ["a", "b", str(i)]} for i in range(10_000)],
    "nested": {"a": {"b": {"c": bytes(100_000)}}},
    "tuple": (1, bytes(70_000)),
    "set": {str(number) for number in range(1000)},
    "deque": deque(str(number) * 30 for number in range(500)),
    "array": array("d", [0.0]) * 10_000,
    "a view": bytearray(20_000),
    "object": Row("x", bytes(30_000)),
    "slots": Tight("x", bytes(30_000)),
    "a private slot": Private(),
    "a named tuple": Point("x", bytes(30_000)),
    "a dict with a default": defaultdict(list, {"x": bytes(30_000)}),
    "a list of a class of its own": Rows([bytes(30_000)]),
    "text of a class of its own": Name("x" * 5_000),
    "slots of a base with a dict": Slotted(),
    "columns": pa.record_batch({"n": range(10_000), "text": ["x" * 20] * 10_000}),
    "a table of columns": pa.table({"n": range(10_000)}),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_guess_is_within_a_factor_of_three(value: Any) -> None:
    true = len(pickle.dumps(value, 5))
    assert true / 3 <= weight(value) <= true * 3


@pytest.mark.parametrize("value", [None, 0, 1.5, True, "", b"", [], {}, set(), object(), len, int])
def test_small_things_are_small(value: Any) -> None:
    assert 0 < weight(value) < 100


def refuses(*_: Any) -> Any:
    raise AssertionError


class Touchy:
    """Of its instances, and of those of derived classes, no name is to be looked up."""

    __getattribute__ = __sizeof__ = __len__ = __iter__ = __getitem__ = __buffer__ = refuses
    __class__ = __dict__ = nbytes = property(refuses)


class TouchyList(Touchy, list[Any]):
    pass


class TouchyTuple(Touchy, tuple[Any, ...]):
    pass


class TouchyDict(Touchy, dict[Any, Any]):
    values = keys = items = refuses


class NoNames:
    __slots__ = ("data",)


NoNames.__slots__ = 5  # type: ignore[assignment]


def of_a_touchy_class() -> Any:
    """An instance of a class that is not to be asked for anything either."""

    class Refusing(type):
        __getattribute__ = __hash__ = __instancecheck__ = __subclasscheck__ = refuses

    return type.__call__(Refusing("Odd", (), {}))


@pytest.mark.parametrize("make", [Touchy, TouchyList, TouchyTuple, TouchyDict, NoNames, of_a_touchy_class])
def test_no_code_of_the_value_is_run(make: Callable[[], Any]) -> None:
    assert weight([make()]) < 100


@pytest.mark.parametrize("make", [set, deque, dict.fromkeys], ids=["set", "deque", "dict"])
def test_what_a_thread_changes_meanwhile_is_guessed_all_the_same(make: Callable[[Any], Any]) -> None:
    made = make(range(20))
    looked_at = iter(made.values() if isinstance(made, dict) else made)
    next(looked_at)
    made.pop() if not isinstance(made, dict) else made.clear()
    assert 0 < _of_some(looked_at, 20, 0) < 1000


def test_what_goes_round_in_circles_comes_to_an_end() -> None:
    ring: list[Any] = [b"x" * 100]
    ring.append(ring)
    assert weight(ring) < 1_000_000


def test_an_unset_slot_weighs_nothing() -> None:
    assert weight(object.__new__(Tight)) < 100
