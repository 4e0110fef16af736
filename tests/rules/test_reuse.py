"""What a feed may yield twice, and what it has used again."""

from __future__ import annotations

import datetime
import enum
import uuid
from array import array
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeframe_async import share
from pipeframe_async._rules.reuse import may_change, used_again


class Plain:
    pass


class Slots:
    __slots__ = ("a",)


@dataclass
class Row:
    a: int = 0


@dataclass(frozen=True)
class Frozen:
    a: int = 0


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    a: int = 0


class Pair(NamedTuple):
    a: int


class Colour(enum.Enum):
    RED = 1


MUTABLE = [{}, [], set(), bytearray(b"x"), deque([1]), array("d", [1.0]), Plain(), Slots(), Row()]
FIXED: list[Any] = [
    1, 1.0, "x" * 1000, b"x" * 1000, None, (1, []), frozenset({1}), Frozen(), FrozenSlots(), Pair(1), Colour.RED,
    object(), datetime.datetime(2026, 1, 1), uuid.UUID(int=1), Path("x"), int, len, may_change, ValueError("x"),
    share([1]),
]  # fmt: skip


@pytest.mark.parametrize("value", MUTABLE, ids=lambda value: type(value).__name__)
def test_a_mutable_record_that_is_there_twice_was_used_again(value: Any) -> None:
    assert used_again([value, value]) is value
    assert used_again([type(value), Plain(), value, value]) is value
    assert used_again([value, Plain(), value]) is None  # a feed goes round in rows that it keeps


@pytest.mark.parametrize("value", FIXED, ids=lambda value: type(value).__name__)
def test_what_cannot_change_may_come_again(value: Any) -> None:
    assert used_again([value, value]) is None
    assert used_again([[], value, value]) is None


def test_equal_ones_are_others() -> None:
    assert used_again([[1], [1], {}, {}]) is None
    assert used_again([]) is None


def test_an_array_may_change() -> None:
    numpy = pytest.importorskip("numpy")
    one = numpy.zeros(3)
    assert used_again([one, one]) is one
    assert not may_change(numpy.float64(1.0))
