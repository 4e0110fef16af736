"""Workload (e): arrays of 1 MiB; a float comes out of each, or an array of the same size.

An array is a copy of one template with its number in the first place, so that it is fresh and cheap to make. Sums of
its values are whole numbers that a float holds exactly, and grow from record to record. Workers import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from benchmarks.works.workload import Done

Array = NDArray[numpy.float64]

LENGTH = 2**20 // 8
TEMPLATE: Array = numpy.arange(LENGTH, dtype=numpy.float64) % 1_000
TEMPLATE[0] = 0
SUM = int(TEMPLATE.sum())


def feed(records: int) -> Iterator[Array]:
    """The first so many arrays."""
    for record in range(records):
        array = TEMPLATE.copy()
        array[0] = record
        yield array


def add_up(array: Array) -> float:
    """A float out."""
    return float(array.sum())


def add_one(array: Array) -> Array:
    """An array out."""
    return array + 1.0


def add_up_step(array: Array) -> tuple[float, bool]:
    """The first as a step."""
    return add_up(array), True


def add_one_step(array: Array) -> tuple[Array, bool]:
    """The other one as a step."""
    return add_one(array), True


def all_of(array: Array) -> int:
    """Look at a whole array."""
    return int(array.sum())


@dataclass(frozen=True, slots=True)
class ArrayWork:
    """What is done to each array.

    Attributes:
        key: its name in files.
        label: its name for people.
        through: as written by hand.
        step: as this library takes it.
        weigh: looks at one result, all of it; grows from one to the next in feed order.
        first: what the first result weighs.
        peers_records: how many arrays the pools get, so that a repeat takes about a second.
        our_records: how many this library gets.
        plain_records: how many a plain loop gets.
    """

    key: str
    label: str
    through: Callable[[Array], Any]
    step: Callable[[Array], tuple[Any, bool]]
    weigh: Callable[[Any], int]
    first: int
    peers_records: int
    our_records: int
    plain_records: int

    def expected(self, records: int) -> Done:
        """What must be done after so many arrays."""
        return Done(records, records * self.first + records * (records - 1) // 2)

    def look(self, results: Iterable[Any]) -> Done:
        """Look at results: how many, how much, and whether they came in feed order."""
        return looked(map(self.weigh, results))


def looked(weights: Iterable[int]) -> Done:
    """What the weights of results say."""
    records, checksum, in_order, last = 0, 0, True, -1
    for weight in weights:
        records += 1
        checksum += weight
        in_order = in_order and weight > last
        last = weight
    return Done(records, checksum, in_order)


WORKS = (
    ArrayWork("float", "float out", add_up, add_up_step, int, SUM, 400, 1_000, 6_000),
    ArrayWork("array", "array out", add_one, add_one_step, all_of, SUM + LENGTH, 200, 500, 5_000),
)
