"""Which records of a batch are run next, and which one is to blame when workers die over it.

Comes in: how a stretch of the batch ended. Goes out: the next stretch. It knows indices in a batch and nothing of
records, lanes or time. A stretch is always the leftmost that is not settled, so that answers come in order.

    died at a record      those before it, it alone, those after it
    died at none of them  two halves: whoever it was is found in log2(n) deaths
    died at many at once  those before them, two halves of them, those after them
    alone, and guilty     blamed; the others go on
"""

from __future__ import annotations

from itertools import pairwise

GUILTY = 6
"""Points at which a record that is alone is blamed."""
OWN_POINTS = 3
"""Points for a death nobody else can have caused: in the batch and once more alone make it guilty. Time that was over
has as many, by itself: the worker may have stood still, but hardly twice."""
FOREIGN_POINTS = 1
"""Points for a death that may have come from outside: five more alone. On a busy machine whose workers are killed
every 40 ms a record is hit with a chance of up to a tenth a try; with three tries alone one in 400 kills was blamed."""


class Inquest:
    """The stretches of one batch that are still to be run.

    Args:
        records: how many the batch has.
        settled: indices that need not be run.
    """

    def __init__(self, records: int, settled: frozenset[int] = frozenset()) -> None:
        self._stretches: list[tuple[int, int]] = []
        self._points: dict[tuple[int, bool], int] = {}  # by index, and whether for time that it took
        self._tries: dict[int, int] = {}
        begin = 0
        for index in (*sorted(settled), records):
            if begin < index:
                self._stretches.append((begin, index))
            begin = index + 1

    @property
    def stretch(self) -> tuple[int, int] | None:
        """The first and the one after the last index of what is to be run next; None when all is settled."""
        return self._stretches[0] if self._stretches else None

    def answered(self) -> None:
        """The stretch was run."""
        del self._stretches[0]

    def reached(self, index: int) -> None:
        """The stretch goes on at this record: those before it are settled."""
        self._stretches[0] = index, self._stretches[0][1]

    def cede(self, index: int) -> None:
        """Records from here on are others' to run."""
        self._stretches = [(start, min(stop, index)) for start, stop in self._stretches if start < index]

    def strike(self, index: int) -> bool:
        """This record need not be run any more; False where it has been."""
        for number, (start, stop) in enumerate(self._stretches):
            if start <= index < stop:
                self._stretches[number : number + 1] = [
                    stretch for stretch in ((start, index), (index + 1, stop)) if stretch[0] < stretch[1]
                ]
                return True
        return False

    def tries(self, index: int) -> int:
        """How often a worker died over this record, or it took too long."""
        return self._tries.get(index, 0)

    def died(
        self, at: int | None, *, end: int | None = None, foreign: bool, late: bool = False, done: int | None = None
    ) -> int | None:
        """A worker died over the stretch.

        Args:
            at: the index it was at; None where that is not known.
            end: it had the records from `at` up to this index at once; None where it had one.
            foreign: whether somebody else may have ended it.
            late: whether it was ended for the time that the record took.
            done: the index before which the stretch is settled all the same, `at` at most; None where none of it is.

        Returns:
            The index that is to blame and settled now, or None.
        """
        start, stop = self._stretches[0]
        begin = start if done is None else done
        if at is None:
            at, end = start, stop
        end = at + 1 if end is None else end
        if end - at > 1:
            self._divide(begin, at, (at + end) // 2, end, stop)
            return None
        self._tries[at] = self.tries(at) + 1
        points = self._points.get((at, late), 0) + (FOREIGN_POINTS if foreign else OWN_POINTS)
        self._points[at, late] = points
        if points >= GUILTY and stop - start == 1:
            self.answered()
            return at
        self._divide(begin, at, end, stop)
        return None

    def _divide(self, *bounds: int) -> None:
        """In place of the first stretch come those between these indices."""
        self._stretches[:1] = [(start, stop) for start, stop in pairwise(bounds) if start < stop]
