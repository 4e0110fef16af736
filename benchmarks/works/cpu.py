"""Workloads (c) and (d): pure CPU, the same for each record, or a thousand times dearer for one in a hundred.

A record is worked on by a loop of a fixed number of rounds. How many make the time wanted is found out once, in the
parent, and everybody is given that number. The loop takes a linear congruential generator so many steps on: where
that must lead is known without going there. Workers import this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from operator import index

from benchmarks.works.trivial import async_feed, feed
from benchmarks.works.workload import Done, Workload

FACTOR, ADDEND, MASK = 1_664_525, 1_013_904_223, 2**32 - 1
"""Of the generator: Numerical Recipes' own."""
EVEN_SECONDS = 200e-6
CHEAP_SECONDS, DEAR_SECONDS = 20e-6, 20e-3
DEAR_SHARE = 0.01
HASH_START = 51_769
"""Chosen so that the first 80, 2,000 and 8,000 records have exactly 1, 20 and 80 dear ones: fewer are as fair."""

_total = 0


def total() -> int:
    """Sum of everything that has left the step in this process."""
    return _total


def turned(value: int, rounds: int) -> int:
    """The work itself."""
    for _ in range(rounds):
        value = (value * FACTOR + ADDEND) & MASK
    return value


def rounds_in(seconds: float) -> int:
    """How many rounds take that long on this machine: the best of ten tries, as nothing but others makes it slower."""
    tried = 50_000
    best = min(_seconds(tried) for _ in range(10))
    return max(1, round(tried * seconds / best))


def _seconds(rounds: int) -> float:
    started = time.perf_counter()
    turned(1, rounds)
    return time.perf_counter() - started


def is_dear(record: int) -> bool:
    """Whether this is one of the dear ones: one in a hundred by a hash, so in clumps and with gaps, as in life."""
    mixed = (record + HASH_START) * 2_654_435_761 & MASK
    mixed = (mixed ^ mixed >> 15) * 2_246_822_519 & MASK
    mixed = (mixed ^ mixed >> 13) * 3_266_489_917 & MASK
    return (mixed ^ mixed >> 16) < DEAR_SHARE * MASK


def even(record: int, rounds: int) -> tuple[int, bool]:
    """The step of (c)."""
    return _told(record, turned(record, rounds)), True


def skewed(record: int, cheap: int, dear: int) -> tuple[int, bool]:
    """The step of (d)."""
    return _told(record, turned(record, dear if is_dear(record) else cheap)), True


def _told(record: int, value: int) -> int:
    global _total
    result = record << 32 | value  # grows from record to record, whatever the value
    _total += result
    return result


def first_of(step: Callable[[int], tuple[int, bool]], record: int) -> int:
    """Take one record through the one step, the way it is written by hand."""
    return step(record)[0]


@cache
def leap(rounds: int) -> tuple[int, int]:
    """Factor and addend of that many rounds at once, by squaring."""
    factor, addend = 1, 0
    by, plus = FACTOR, ADDEND
    while rounds:
        if rounds & 1:
            factor, addend = factor * by & MASK, (addend * by + plus) & MASK
        by, plus = by * by & MASK, (plus * by + plus) & MASK
        rounds >>= 1
    return factor, addend


@cache
def expected(records: int, cheap: int, dear: int) -> Done:
    """What must be done after the records 0, 1, …, worked out without the loops."""
    checksum = 0
    for record in range(records):
        factor, addend = leap(dear if is_dear(record) else cheap)
        checksum += record << 32 | (record * factor + addend) & MASK
    return Done(records, checksum)


def even_work(seconds: float = EVEN_SECONDS) -> Workload:
    """Workload (c)."""
    rounds = rounds_in(seconds)
    return _of_one_step(
        partial(even, rounds=rounds),
        partial(expected, cheap=rounds, dear=rounds),
        f"Records per second through {1e6 * seconds:g} µs of CPU each",
        records=12_000,
        fewer={"plain": 4_000},
    )


def skewed_work(cheap_seconds: float = CHEAP_SECONDS, dear_seconds: float = DEAR_SECONDS) -> Workload:
    """Workload (d)."""
    cheap = rounds_in(cheap_seconds)
    dear = round(cheap * dear_seconds / cheap_seconds)
    return _of_one_step(
        partial(skewed, cheap=cheap, dear=dear),
        partial(expected, cheap=cheap, dear=dear),
        f"Records per second, one in a hundred {dear_seconds / cheap_seconds:,.0f} times dearer",
        records=8_000,
        fewer={},
    )


def _of_one_step(
    step: Callable[[int], tuple[int, bool]],
    expected: Callable[[int], Done],
    title: str,
    *,
    records: int,
    fewer: dict[str, int],
) -> Workload:
    return Workload(
        title=title,
        records=records,
        steps=(step,),
        through=partial(first_of, step),
        feed=feed,
        async_feed=async_feed,
        expected=expected,
        total=total,
        weigh=index,
        below=-1,
        fewer=fewer,
    )
