"""Guesses of a pickle's size: good to a factor of three, in a bounded number of looks, and without the value's code."""

from __future__ import annotations

import pickle
from array import array
from collections import deque
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from pipeframe_async.weight import weight


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


def test_no_code_of_the_value_is_run() -> None:
    class Touchy:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __sizeof__(self) -> int:
            raise AssertionError

        def __len__(self) -> int:
            raise AssertionError

        @property
        def nbytes(self) -> int:
            raise AssertionError

    assert weight([Touchy()]) < 100


def test_what_goes_round_in_circles_comes_to_an_end() -> None:
    ring: list[Any] = [b"x" * 100]
    ring.append(ring)
    assert weight(ring) < 1_000_000


def test_an_unset_slot_weighs_nothing() -> None:
    assert weight(object.__new__(Tight)) < 100
