"""How long records wait, without a note for each: marks in the feed, with times.

A mark says that all before it had been fed by then. Marks are a `GRAIN` apart, so there are as many as milliseconds in
which something came, whatever the rate; and where records wait for so long that there would be too many, they become
coarser, so that they are a fixed number. A wait is never taken for shorter than it was.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from pipeframe_async._rules.timing import Spread
from pipeframe_async.gil import copied

GRAIN: Final = 1e-3
"""Seconds. Finer marks cost more than the records they tell apart."""
MOST_WAITING: Final = 4096
"""Marks of records that wait to be taken, 400 kB of them. With fewer the waits behind a feed of hours are coarse."""
MOST_AGES: Final = 256
"""Marks for the age of what has no outcome: it is known to a share of 1/128 of the time they are for."""

Mark = tuple[int, float]
"""Up to this feed position (not included), and when that had been fed."""


class _Marks:
    """So many marks at most."""

    __slots__ = ("_apart", "_most", "marks")

    def __init__(self, most: int) -> None:
        self._most = most
        self._apart = GRAIN
        self.marks: deque[Mark] = deque()

    def add(self, end: int, now: float) -> None:
        marks = self.marks
        if marks and now - marks[-1][1] < self._apart:
            marks[-1] = (end, marks[-1][1])
            return
        if len(marks) < self._most // 8:
            self._apart = GRAIN
        marks.append((end, now))
        if len(marks) > self._most:
            self._thin(now)

    def _thin(self, now: float) -> None:
        """Of two neighbours the older time is kept, and the later end."""
        marks = [*self.marks]
        later = [*marks[1::2], marks[-1]]
        self.marks = deque((end, since) for (_, since), (end, _) in zip(marks[::2], later, strict=False))
        self._apart = max(2 * self._apart, (now - self.marks[0][1]) / self._most)


class Waits:
    """The waits of one run.

    Attributes:
        spread: of all that were taken, nanoseconds.
    """

    __slots__ = ("_ages", "_waiting", "spread")

    def __init__(self) -> None:
        self._waiting = _Marks(MOST_WAITING)  # of those that were not taken
        self._ages = _Marks(MOST_AGES)  # also of those that were, and have no outcome
        self.spread = Spread()

    def fed(self, end: int, now: float) -> None:
        """All records before feed position `end` have been fed by now."""
        self._waiting.add(end, now)
        self._ages.add(end, now)

    def taken(self, first: int, end: int, now: float) -> None:
        """The records from `first` up to `end` were taken; what is before them was too."""
        marks = self._waiting.marks
        while marks and first < end:
            upto, since = marks[0]
            if upto > first:
                there = min(upto, end)
                self.spread.add(max(0, int((now - since) * 1e9)), there - first)
                first = there
            if upto > end:
                return
            marks.popleft()

    def since(self, position: int) -> float | None:
        """When the record at this feed position was fed, as far as marks tell: never too late. Any thread may ask.

        Args:
            position: of the first record that has no outcome.
        """
        return next((since for upto, since in copied(self._ages.marks) if upto > position), None)

    def settled(self, position: int) -> None:
        """All before this feed position have their outcomes: nobody will ask for those. On the loop, as `fed`."""
        ages = self._ages.marks
        while ages and ages[0][0] <= position:
            ages.popleft()
