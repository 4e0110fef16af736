"""The watermark: how many records from the first on have a final outcome, without a gap."""

from __future__ import annotations

from bisect import bisect_right

from pipeframe_async.checkpoint import Done
from pipeframe_async.errors import InternalError


class Watermark:
    """Positions below `value` are all final. What is final above it waits as stretches, one between two gaps.

    Args:
        done: what is final already.
    """

    def __init__(self, done: Done | None = None) -> None:
        done = done or Done()
        self.value = done.watermark
        self._begins = [first for first, _ in done.above]  # of the stretches above the first gap, in order
        self._ends = [end for _, end in done.above]  # the one after the last of each

    @property
    def done(self) -> Done:
        """All that is final."""
        return Done(self.value, tuple(zip(self._begins, self._ends, strict=True)))

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
