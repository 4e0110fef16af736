"""How long records wait, without a note for each: marks in the feed, with times.

A mark says that all before it had been fed by then. Those of records that wait to be taken are a `GRAIN` apart: there
are as many as milliseconds in which something came, whatever the rate. Of records that were taken and have no outcome
there may be some for hours: their marks are a fixed number, and the coarser the longer that is.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from pipeframe_async._rules.timing import Spread

GRAIN: Final = 1e-3
"""Seconds. Finer marks cost more than the records they tell apart."""
MOST_AGES: Final = 256
"""Marks for the age of what has no outcome: it is known to a share of 1/128 of the time they are for."""


class Waits:
    """The waits of one run.

    Attributes:
        spread: of all that were taken, nanoseconds.
    """

    __slots__ = ("_ages", "_apart", "_marks", "spread")

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()  # up to this feed position (not included), fed at
        self._ages: list[tuple[int, float]] = []  # the same, also of those that were taken
        self._apart = GRAIN
        self.spread = Spread()

    def fed(self, end: int, now: float) -> None:
        """All records before feed position `end` have been fed by now."""
        marks = self._marks
        if marks and now - marks[-1][1] < GRAIN:
            marks[-1] = (end, marks[-1][1])
        else:
            marks.append((end, now))
        ages = self._ages
        if ages and now - ages[-1][1] < self._apart:
            ages[-1] = (end, ages[-1][1])
            return
        ages.append((end, now))
        if len(ages) > MOST_AGES:  # of two neighbours the older time is kept, and the later end
            later = [*ages[1::2], ages[-1]]
            self._ages = [(end, since) for (_, since), (end, _) in zip(ages[::2], later, strict=False)]
            self._apart = max(2 * self._apart, (now - self._ages[0][1]) / MOST_AGES)

    def taken(self, first: int, end: int, now: float) -> None:
        """The records from `first` up to `end` were taken; what is before them was too."""
        marks = self._marks
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
        return next((since for upto, since in self._ages.copy() if upto > position), None)

    def settled(self, position: int) -> None:
        """All before this feed position have their outcomes: nobody will ask for those."""
        ages = self._ages
        gone = next((at for at, (upto, _) in enumerate(ages) if upto > position), len(ages))
        if gone:
            del ages[:gone]
        if len(ages) < MOST_AGES // 8:
            self._apart = GRAIN
