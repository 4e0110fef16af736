"""The watermark: how many records from the first on have a final outcome, without a gap."""

from __future__ import annotations

from bisect import bisect_right

from pipeframe_async.errors import InternalError


class Watermark:
    """Positions below `value` are all final. What is final above it waits as stretches, one between two gaps."""

    def __init__(self) -> None:
        self.value = 0
        self._begins: list[int] = []  # of the stretches of final positions above the first gap, in order
        self._ends: list[int] = []  # the one after the last of each

    def final(self, first: int, count: int) -> bool:
        """The records from `first` on have a final outcome; returns whether the watermark has risen."""
        at = bisect_right(self._begins, first)
        if first < self.value or (at and first < self._ends[at - 1]):
            raise InternalError(f"the record at position {first} became final twice")
        end = first + count
        if at < len(self._begins) and self._begins[at] == end:  # it joins the stretch behind it
            del self._begins[at]
            end = self._ends.pop(at)
        if first == self.value:
            self.value = end
            return True
        if at and self._ends[at - 1] == first:  # it goes on the one before it
            self._ends[at - 1] = end
        else:
            self._begins.insert(at, first)
            self._ends.insert(at, end)
        return False
