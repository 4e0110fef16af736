"""Workload (a): three trivial steps on small ints, so that what is measured is the way to the steps and back.

Workers import this module, so it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from operator import index

from benchmarks.works.workload import Done, Workload

_total = 0
PAGE = 1_000
"""Records a source of pages hands over at once."""


def total() -> int:
    """Sum of all that has left the last step in this process: how a worker that sends nothing back shows its work."""
    return _total


def expected(records: int) -> Done:
    """What must be done after the records 0, 1, …: each one plus one, times two, added up."""
    return Done(records, records * (records + 1))


def add_one(record: int) -> tuple[int, bool]:
    """First step."""
    return record + 1, True


def double(record: int) -> tuple[int, bool]:
    """Second step."""
    return record * 2, True


def add_up(record: int) -> tuple[int, bool]:
    """Third step."""
    global _total
    _total += record
    return record, True


STEPS = (add_one, double, add_up)


def through(record: int) -> int:
    """Take one record through the steps, the way it is written by hand."""
    record, keep_going = add_one(record)
    if keep_going:
        record, keep_going = double(record)
    if keep_going:
        record, keep_going = add_up(record)
    return record


def feed(records: int) -> Iterator[int]:
    """The feed, as a plain generator: one record a yield."""
    for record in range(records):  # noqa: UP028 - a user's feed is a loop around a yield
        yield record


async def async_feed(records: int) -> AsyncIterator[int]:
    """The feed, as an async generator: one record a yield."""
    for record in range(records):
        yield record


def pages(records: int) -> Iterator[range]:
    """The feed as a source that reads pages would have it."""
    for start in range(0, records, PAGE):
        yield range(start, min(start + PAGE, records))


TRIVIAL = Workload(
    title="Records per second through three trivial steps",
    records=3_200_000,
    steps=STEPS,
    through=through,
    feed=feed,
    async_feed=async_feed,
    expected=expected,
    total=total,
    weigh=index,
    below=-1,
    pages=pages,
    fewer={"original": 60_000, "original_idle_tail": 120_000, "hop": 5_000, "spdl_region": 4_000},
)
