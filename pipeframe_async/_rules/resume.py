"""How a job goes on that was ended: what of its feed is done, where its records are, and whether it is the same job.

Two numberings: a position is a record's number in the job's feed, from its beginning; a life counts the records it is
given, those that are not done, from 0. Comes in: what is done. Plain values: no file is opened here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeframe_async._rules.feed_forms import Feed, Form
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.checkpoint import Checkpoint, Done, JobState, Mark
from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.model import Chunk

MOST_NAMED = 1_000
"""Characters of what an object says it is. Fewer tell no two lists of files apart, more are a file of their own."""
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""What a repr has of a place in memory, another one in each process."""
KEPT = ("delivered", "bypassed", "filtered", "failed", "emitted")
"""What the totals of a job are of; `aborted` is what is not done."""


class Places:
    """From the numbers of a life to positions."""

    def __init__(self, done: Done) -> None:
        self._from: list[int] = []  # the first number of each stretch that is not done
        self._shift: list[int] = []  # and what is added to it
        number, position = 0, done.watermark
        for first, end in (*done.above, (None, None)):
            self._from.append(number)
            self._shift.append(position - number)
            if first is not None and end is not None:
                number, position = number + first - position, end

    def stretches(self, number: int, count: int) -> Iterator[tuple[int, int]]:
        """Where so many records from this number on are: stretches, each its first position and how many."""
        at = bisect_right(self._from, number) - 1
        while count:
            until = self._from[at + 1] if at + 1 < len(self._from) else number + count
            here = min(count, until - number)
            yield number + self._shift[at], here
            number, count, at = number + here, count - here, at + 1


class Skipping:
    """Follows a feed that is pulled again, and says which of its records are done.

    Args:
        done: what is.
        position: of the first record that comes.

    Attributes:
        position: of the next record.
    """

    def __init__(self, done: Done, position: int = 0) -> None:
        self.position = position
        stretches = ((0, done.watermark), *done.above)
        self._left = deque((max(first, position), end) for first, end in stretches if end > position)

    @property
    def over(self) -> bool:
        """Nothing that comes is done."""
        return not self._left

    @property
    def ahead(self) -> int:
        """How many of the next records are done, one after the other."""
        if not self._left or self._left[0][0] > self.position:
            return 0
        return self._left[0][1] - self.position

    @property
    def missing(self) -> int:
        """How many that are done have not come."""
        return sum(end - max(first, self.position) for first, end in self._left)

    def take(self, count: int) -> list[tuple[int, int]]:
        """So many records come; which of them are not done, as stretches: each the first's index and the one behind."""
        begin, fresh, at = self.position, [], 0
        self.position = end = begin + count
        while self._left and self._left[0][0] < end:
            first, stop = self._left[0]
            if at < first - begin:
                fresh.append((at, first - begin))
            at = min(stop, end) - begin
            if stop > end:
                break
            self._left.popleft()
        if at < count:
            fresh.append((at, count))
        return fresh


def behind(marks: deque[Mark], done: Done) -> Mark | None:
    """The last place of the feed that nothing which is not done comes before; forgets those before it."""
    while len(marks) > 1 and marks[1].records <= done.watermark:
        marks.popleft()
    return marks[0] if marks and marks[0].records <= done.watermark else None


def summed(before: Mapping[str, int], now: Outcome) -> dict[str, int]:
    """The totals of a job, with what this life has added."""
    return {name: before.get(name, 0) + getattr(now, name) for name in KEPT}


def fingerprint(checkpoint: Checkpoint, steps: Sequence[str], feed: Feed, sink: object) -> dict[str, Any]:
    """What makes a job this one; `sink`: where that is gone back to a position."""
    return {
        "version": checkpoint.version,
        "steps": list(steps),
        "feed": _identity_of_feed(feed),
        "sink": None if sink is None else identity(sink),
    }


def identity(value: object) -> str:
    """What an object says it is, in all processes the same."""
    kind = type(value)
    if kind.__repr__ is object.__repr__:
        return _kind(value)
    return ADDRESS.sub("", repr(value))[:MOST_NAMED]


def _identity_of_feed(feed: Feed) -> str:
    value = getattr(feed.value, "func", feed.value)  # of a partial
    if name := getattr(value, "__qualname__", None):
        return str(name)  # without its module: a script's is another one where it is imported
    return identity(value) if feed.form in (Form.SYNC, Form.ASYNC, Form.TAKEN) and feed.seeks else _kind(value)


def _kind(value: object) -> str:
    return type(value).__qualname__


def _length_of(given: object) -> int | None:
    """How many records something has that are all there; None where that is not certain."""
    if isinstance(given, (list, tuple)) and any(isinstance(one, Chunk) for one in given):
        return None
    return len(given) if isinstance(given, (list, tuple, range)) else None


def check(state: JobState, wanted: Mapping[str, Any], given: object, path: str) -> None:
    """That a state is of this job, which is fed with what is given.

    Raises:
        CheckpointMismatch: it is of another one; the message says what differs.
    """
    differs = [name for name in wanted if state.fingerprint.get(name) != wanted[name]]
    if not differs:
        if state.finished and (length := _length_of(given)) not in (None, state.done.records):
            raise CheckpointMismatch(
                f"{path} is the state of a job that is done, with {state.done.records:,} records, and this feed has "
                f"{length:,}: begin anew with restart=True (--restart), or name another file"
            )
        return
    said = "; ".join(f"{name} was {state.fingerprint.get(name)!r} and is {wanted[name]!r}" for name in differs)
    raise CheckpointMismatch(
        f"{path} is the state of another job: {said}. Finish that one as it was, begin anew with restart=True "
        "(--restart), or name another file"
    )


def shorter(name: str, skipping: Skipping) -> CheckpointMismatch:
    """The error of a feed that has ended before all came that is done."""
    return CheckpointMismatch(
        f"the feed of {name} has become shorter: it ended after {skipping.position:,} records, and "
        f"{skipping.missing:,} more were done. Give it back what it had, or begin anew with restart=True (--restart)"
    )
