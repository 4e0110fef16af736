"""Pure Python for threads: next to no work, records that have nothing in common, and such as touch the same objects.

A thread without a GIL counts references to what others have made with atomic instructions. Where several do so to one
object at a time its cache line goes back and forth between the cores, and that is most of what they do. Workers import
this module, so it imports nothing of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from benchmarks.works.workload import Done

SECONDS = 100e-6
"""Work of a record in a plain loop."""
RECORDS, MANY = 12_000, 600_000
"""Of the works that take that long, and of the one that takes nothing: about a second of a plain loop, or of ours."""
TRIED = 20_000
"""Rounds that are timed, 2 ms of them."""
FEWEST = 60
"""Records of a quick run."""


class Factor:
    """What the records of the third work all look at."""

    def __init__(self, factor: int, addend: int) -> None:
        self.factor, self.addend = factor, addend


FACTORS = (Factor(5, 3), Factor(13, 7))
"""Every thread has these very two, every process its own."""


def nothing(record: int) -> tuple[int, bool]:
    """The step of the first work: what is measured is the way to it and back."""
    return record + 1, True


def turned(value: int, rounds: int) -> int:
    """The second work. References to numbers below 257 are not counted; those to the constants of a module may be."""
    value &= 0xFF
    for _ in range(rounds):
        value = (value * 5 + 3) & 0xFF
    return value


def looked_up(value: int, rounds: int) -> int:
    """The third: the same, with a look at an object for each round."""
    value &= 0xFF
    for at in range(rounds):
        factor = FACTORS[at & 1]
        value = (value * factor.factor + factor.addend) & 0xFF
    return value


def alone(record: int, rounds: int) -> tuple[int, bool]:
    """The step of the second work."""
    return record << 32 | turned(record, rounds), True


def shared(record: int, rounds: int) -> tuple[int, bool]:
    """The step of the third work."""
    return record << 32 | looked_up(record, rounds), True


def through(step: Callable[[int], tuple[int, bool]], record: int) -> int:
    """One record, as written by hand."""
    return step(record)[0]


@cache
def _checksum(step: Callable[[int], tuple[int, bool]], records: int) -> int:
    return sum(through(step, record) for record in range(records))


@dataclass(frozen=True, slots=True)
class ThreadWork:
    """One of the three.

    Attributes:
        key: its name in files.
        label: its name for people.
        step: takes one record.
        records: how many of them.
    """

    key: str
    label: str
    step: Callable[[int], tuple[int, bool]]
    records: int = RECORDS

    def expected(self, records: int) -> Done:
        """What must have been done after so many; worked out once, by a plain loop."""
        return Done(records, _checksum(self.step, records), in_order=True)


def works() -> tuple[ThreadWork, ...]:
    """All, with rounds that take as long on this machine in one thread."""
    return (
        ThreadWork("nothing", "next to nothing", nothing, MANY),
        ThreadWork("alone", "nothing in common", partial(alone, rounds=rounds_of(turned))),
        ThreadWork("shared", "two objects for all", partial(shared, rounds=rounds_of(looked_up))),
    )


def rounds_of(work: Callable[[int, int], int]) -> int:
    """How many rounds take `SECONDS`: the best of ten tries, as nothing but others makes it slower."""
    return max(1, round(TRIED * SECONDS / min(_seconds(work) for _ in range(10))))


def _seconds(work: Callable[[int, int], int]) -> float:
    started = time.perf_counter()
    work(1, TRIED)
    return time.perf_counter() - started
