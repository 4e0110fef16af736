"""The watermark: how many records from the first on have a final outcome, without a gap."""

from __future__ import annotations

from pipeframe_async.errors import InternalError


class Watermark:
    """Positions below `value` are all final. What is final above it waits, at most a run of records for each gap."""

    def __init__(self) -> None:
        self.value = 0
        self._ends: dict[int, int] = {}  # of runs of final positions above the first gap, by their beginning

    def final(self, first: int, count: int) -> bool:
        """The records from `first` on have a final outcome; returns whether the watermark has risen."""
        if first < self.value or first in self._ends:
            raise InternalError(f"the record at position {first} became final twice")
        self._ends[first] = first + count
        before = self.value
        while (end := self._ends.pop(self.value, None)) is not None:
            self.value = end
        return self.value > before
