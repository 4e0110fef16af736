"""Which records of a batch are run next, and which one is to blame when workers die over it.

Comes in: how a part of the batch ended. Goes out: the next part. It knows places in a batch and nothing of
records, lanes or time. A part is always the leftmost that is not settled, so that answers come in order.

    died at a record      those before it, it alone, those after it
    died at none of them  two halves: whoever it was is found in log2(n) deaths
    alone, and guilty     blamed; the others go on
"""

from __future__ import annotations

GUILTY = 6
"""Points at which a record that is alone is blamed."""
OWN_POINTS = 3
"""Points for a death nobody else can have caused: in the batch and once more alone make it guilty."""
FOREIGN_POINTS = 1
"""Points for a death that may have come from outside: five more alone. On a busy machine whose workers are killed
every 40 ms a record is hit with a chance of up to a tenth a try; with three tries alone one in 400 kills was blamed."""


class Inquest:
    """The parts of one batch that are still to be run.

    Args:
        records: how many places the batch has.
        settled: places that need not be run.
    """

    def __init__(self, records: int, settled: frozenset[int] = frozenset()) -> None:
        self._parts: list[tuple[int, int]] = []
        self._points: dict[int, int] = {}
        self._tries: dict[int, int] = {}
        begin = 0
        for place in (*sorted(settled), records):
            if begin < place:
                self._parts.append((begin, place))
            begin = place + 1

    @property
    def part(self) -> tuple[int, int] | None:
        """The first and the one after the last place of what is to be run next; None when all is settled."""
        return self._parts[0] if self._parts else None

    def answered(self) -> None:
        """The part was run."""
        del self._parts[0]

    def strike(self, place: int) -> bool:
        """This record need not be run any more; False where it has been."""
        for number, (start, stop) in enumerate(self._parts):
            if start <= place < stop:
                self._parts[number : number + 1] = [
                    part for part in ((start, place), (place + 1, stop)) if part[0] < part[1]
                ]
                return True
        return False

    def tries(self, place: int) -> int:
        """How often a worker died over this record, or it took too long."""
        return self._tries.get(place, 0)

    def died(self, at: int | None, *, foreign: bool, done: bool = False) -> int | None:
        """A worker died over the part.

        Args:
            at: the place it was at; None where that is not known.
            foreign: whether somebody else may have ended it.
            done: whether the part before `at` is settled all the same.

        Returns:
            The place that is to blame and settled now, or None.
        """
        start, stop = self._parts[0]
        if at is None and stop - start > 1:
            middle = (start + stop) // 2
            self._parts[:1] = [(start, middle), (middle, stop)]
            return None
        at = start if at is None else at
        before = [] if done or at == start else [(start, at)]
        after = [] if at + 1 == stop else [(at + 1, stop)]
        self._tries[at] = self.tries(at) + 1
        points = self._points[at] = self._points.get(at, 0) + (FOREIGN_POINTS if foreign else OWN_POINTS)
        guilty = points >= GUILTY and stop - start == 1
        self._parts[:1] = [*before, *([] if guilty else [(at, at + 1)]), *after]
        return at if guilty else None

    def timed_out(self, at: int, *, done: bool = False) -> int:
        """The record at this place took too long: it is to blame, for the clock has no doubt. Returns the place."""
        start, stop = self._parts[0]
        self._tries[at] = self.tries(at) + 1
        parts = [(start, at)] if not done and start < at else []
        self._parts[:1] = [*parts, *([(at + 1, stop)] if at + 1 < stop else [])]
        return at
