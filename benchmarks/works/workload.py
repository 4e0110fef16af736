"""What a workload is: records, steps, and the sums that prove that every record went through every step.

A value of functions that workers find by name, so nothing here imports ours or a peer. The functions below are
those of a user who cuts chunks by hand: a worker is given one with a list of records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

Step = Callable[[Any], tuple[Any, bool]]


class Done(NamedTuple):
    """What a contestant says it did; `in_order` is None where nobody looked at results."""

    records: int
    checksum: int
    in_order: bool | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of work.

    Attributes:
        title: what is done, for the head of a picture.
        records: how many a contestant gets, unless it is named in `fewer`: enough for a second of work.
        steps: as this library takes them.
        through: one record through all steps, as written by hand.
        feed: the first n records as a plain generator, one a yield.
        async_feed: the same as an async generator.
        expected: what must have been done after n records.
        total: what has left the last step in this process so far, added up.
        weigh: what one result adds to that sum. Looking at results adds up these.
        below: something less than the first result. Results grow from one to the next in feed order.
        pages: the first n records as sequences of many, where there are such sources.
        fewer: how many records slow contestants get, by key.
    """

    title: str
    records: int
    steps: tuple[Step, ...]
    through: Callable[[Any], Any]
    feed: Callable[[int], Iterator[Any]]
    async_feed: Callable[[int], AsyncIterator[Any]]
    expected: Callable[[int], Done]
    total: Callable[[], int]
    weigh: Callable[[Any], int]
    below: Any
    pages: Callable[[int], Iterator[Sequence[Any]]] | None = None
    fewer: Mapping[str, int] = field(default_factory=dict)

    def records_for(self, key: str) -> int:
        """How many records a contestant gets."""
        return self.fewer.get(key, self.records)

    def look(self, results: Iterable[Any]) -> Done:
        """Look at each result: how many, how much, and whether they came in feed order."""
        weigh, last = self.weigh, self.below
        count, checksum, in_order = 0, 0, True
        for result in results:
            count += 1
            checksum += weigh(result)
            if result <= last:
                in_order = False
            last = result
        return Done(count, checksum, in_order)


@dataclass(frozen=True, slots=True)
class Chunks:
    """The first `records` of a feed, to be cut into lists of `size`: by whoever iterates, or by a library itself."""

    feed: Callable[[int], Iterator[Any]]
    records: int
    size: int

    def __iter__(self) -> Iterator[list[Any]]:
        """Cut them by hand."""
        records = self.feed(self.records)
        while chunk := list(islice(records, self.size)):
            yield chunk

    def __len__(self) -> int:
        """How many chunks there are."""
        return -(-self.records // self.size)

    def uncut(self) -> Iterator[Any]:
        """Record by record."""
        return self.feed(self.records)


def all_through(through: Callable[[Any], Any], chunk: list[Any]) -> list[Any]:
    """In a worker: a chunk through the steps, results back."""
    return list(map(through, chunk))


def count_through(through: Callable[[Any], Any], total: Callable[[], int], chunk: list[Any]) -> Done:
    """In a worker: a chunk through the steps, and no more back than how many, and their sum."""
    before = total()
    deque(map(through, chunk), maxlen=0)
    return Done(len(chunk), total() - before)


def added_up(parts: Iterable[Done]) -> Done:
    """What several have done together."""
    records = checksum = 0
    for part in parts:
        records += part.records
        checksum += part.checksum
    return Done(records, checksum)
