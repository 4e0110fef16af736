"""Records that were fed and wait for a lane. Intake appends bare; dispatch takes from the front.

It is a plain list, because `append` on it is all the hot loop of the feed does; what was appended since the
last look is noted in the ledger by whoever looks next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.spill import Spill
from pipeframe_async._rules.ledger import Ledger


class Backlog:
    """The queue between intake and dispatch.

    Attributes:
        records: what waits in memory, in feed order.
        spill: what waits on disk, after it in feed order.
        bell: rings when a lane may find something to take.
        held: nothing may be taken: a batch feed is still running, or what waits has been dropped.
        paused: the feed is waiting for something, so a partial batch may go.
        ended: no more will come.
        noted: how many of `records` are in the books.
        mark: length of `records` at which intake stops to look around; moves when records are taken.
        on_taken: called when records were taken.
    """

    def __init__(self, ledger: Ledger, spill: Spill) -> None:
        self.records: list[Any] = []
        self.spill = spill
        self.bell = Bell()
        self.held = False
        self.paused = False
        self.ended = False
        self._ledger = ledger
        self.noted = 0
        self.mark = 0
        self.on_taken: Callable[[], object] = lambda: None
        self._entered = 0
        self._dropped = False

    @property
    def waiting(self) -> int:
        """Records that wait, in memory and on disk."""
        return len(self.records) + len(self.spill)

    @property
    def exhausted(self) -> bool:
        """Nothing that may be taken waits, and nothing will come."""
        return self.ended and (self._dropped or not self.waiting)

    @property
    def entered(self) -> int:
        """Records ever put in: the feed position of the next one."""
        return self._entered + self.unbooked

    @property
    def unbooked(self) -> int:
        """Records appended since the last look."""
        return max(0, len(self.records) - self.noted)

    def note(self) -> None:
        """Book what was appended since the last time."""
        if new := len(self.records) - self.noted:
            self._ledger.admit(new)
            self.noted += new
            self._entered += new

    def overflow(self) -> None:
        """What was appended beyond the permits there are: to disk."""
        if (over := len(self.records) - self.noted - self._ledger.room) <= 0:
            return
        for record in self.records[-over:]:
            self.spill.put(record)
        del self.records[-over:]
        self._ledger.spill(over)
        self._entered += over

    def take(self, records: int) -> list[Any]:
        """Remove the first so many records in memory."""
        self.note()
        taken = self.records[:records]
        del self.records[:records]
        self.noted -= len(taken)
        self.mark -= len(taken)
        self.on_taken()
        return taken

    def give_back(self, records: list[Any]) -> None:
        """Put records that could not be sent yet back to the front."""
        self.records[:0] = records
        self.noted += len(records)
        self.mark += len(records)

    def end(self) -> None:
        """No more will come."""
        self.note()
        self.ended, self.held = True, self._dropped
        self.bell.ring()

    def drop(self) -> None:
        """Abort whatever waits, and take no more: feed positions have a gap now."""
        self._dropped = self.held = True
        self.note()
        self.records.clear()
        self.noted = 0
        self.spill.close()
        self._ledger.abort_waiting()
        self.bell.ring()
