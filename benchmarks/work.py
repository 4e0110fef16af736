"""The work that every contestant is given: three trivial steps on small ints, and a checksum that proves it done.

It is so little that what is measured is the way to the steps and back. Workers import this module, so it
imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

total = 0
"""Sum of everything that has left the last step in this process: how a worker that sends no results shows its work."""


class Done(NamedTuple):
    """What a contestant says it did."""

    records: int
    checksum: int


def expected(records: int) -> Done:
    """What a contestant must say after the records 0, 1, …: each one plus one, times two, added up."""
    return Done(records, records * (records + 1))


def add_one(record: int) -> tuple[int, bool]:
    """First step."""
    return record + 1, True


def double(record: int) -> tuple[int, bool]:
    """Second step."""
    return record * 2, True


def add_up(record: int) -> tuple[int, bool]:
    """Third step."""
    global total
    total += record
    return record, True


STEPS = (add_one, double, add_up)


def through(record: int) -> int:
    """Take one record through the steps, the way it is written by hand."""
    for step in STEPS:
        record, keep_going = step(record)
        if not keep_going:
            break
    return record


def all_through(records: Iterable[int]) -> list[int]:
    """Take many records through the steps; without a call of `through` for each."""
    results = []
    for record in records:
        for step in STEPS:
            record, keep_going = step(record)
            if not keep_going:
                break
        results.append(record)
    return results


def count_through(records: Iterable[int]) -> Done:
    """Take many records through the steps and say no more than how many, and their checksum."""
    before, count = total, 0
    for record in records:
        for step in STEPS:
            record, keep_going = step(record)
            if not keep_going:
                break
        count += 1
    return Done(count, total - before)


def feed(records: int) -> Iterator[int]:
    """The feed, as a plain generator: one record a yield."""
    for record in range(records):  # noqa: UP028 - a user's feed is a loop around a yield
        yield record


async def async_feed(records: int) -> AsyncIterator[int]:
    """The feed, as an async generator: one record a yield."""
    for record in range(records):
        yield record
