"""The cursor: what a worker is at, in memory the parent can read while it works and after it has died.

Unsigned 64-bit cells. The worker writes the batch it has, the index of the record it is at (or a phase, where it is at
none) and, where it matters, the step; a write costs 27-65 ns. Where a step has many records at once, the index is that
of the first, and there is an end. The parent writes the spot whose record it wants ended, so that a worker that has
gone on meanwhile is spared.

Records that have not begun may be ceded to others: the worker claims a piece of its batch, and then looks how far it
may go; the parent says how far that is, waits a moment, and then looks what is claimed. Each writes before it looks, so
at least one of them sees the other.
"""

from __future__ import annotations

import mmap

from pipeframe_async.wire import Phase, Spot

BATCH, INDEX, STEP, END, BEGUN, SOUGHT_BATCH, SOUGHT_INDEX, SOUGHT_END, SPOKEN, CLAIMED, CEDED = range(11)
"""What each cell says. END: the index behind the last of the records that a step has at once; 0 where it has one.
BEGUN: that behind the last record that has begun, where records go in groups; 0 where that is the one it is at.
SPOKEN is 1 when a worker has said its last words and waits for its end. CLAIMED: the index behind the last record that
nobody else may have. CEDED, and those behind it: a batch (its number and one), and the index from which on its records
are others'."""
CEDING = 8
"""Batches that may have ceded records at a time; a batch has its cell by its number."""
INDEX_BITS = 24
"""Of an index there; the others are the batch's number. Both are one store, of which nobody sees a half."""
ALL = 2**INDEX_BITS - 1
"""Is claimed where nothing may be ceded."""
NBYTES = 8 * (CEDED + CEDING)


FIRST_PHASE = min(Phase)
NO_STEP = 2**64 - 1
"""In place of a step: the record is being read, and has not come to one."""


class Cursor:
    """A worker's spot. The hot loop writes `cells[INDEX]` bare."""

    __slots__ = ("_memory", "_seen", "cells")

    def __init__(self, fd: int = -1) -> None:
        """Map the cells: of `fd` where the parent is to see them; without one they are this process's own."""
        self._memory: bytearray | mmap.mmap = bytearray(NBYTES) if fd < 0 else mmap.mmap(fd, NBYTES)
        self._seen = fd >= 0
        self.cells = memoryview(self._memory).cast("Q")
        self.leave()

    def enter(self, batch: int) -> None:
        """Say which batch is being worked on; its chain is loaded first."""
        self.cells[INDEX] = Phase.LOADING
        self.cells[END] = self.cells[BEGUN] = 0
        self.cells[CLAIMED] = ALL
        self.cells[BATCH] = batch

    def phase(self, phase: Phase) -> None:
        """Say what is being done to the whole batch."""
        self.cells[INDEX] = phase

    def leave(self) -> None:
        """Say that nothing is being worked on."""
        self.cells[INDEX] = Phase.IDLE

    def read(self) -> Spot:
        """Where the worker is."""
        batch, index, step, end, begun = self.cells[: BEGUN + 1]
        if index >= FIRST_PHASE:
            return Spot(batch, None, Phase(index), None)
        return Spot(batch, index, None, None if step == NO_STEP else step, end or None, begun or None)

    def seek(self, spot: Spot) -> None:
        """Mark the spot that was looked at as the one to be ended; called by the parent."""
        index = spot.phase if spot.at is None else spot.at
        assert index is not None
        self.cells[SOUGHT_BATCH], self.cells[SOUGHT_INDEX], self.cells[SOUGHT_END] = spot.batch, index, spot.end or 0

    @property
    def sought(self) -> bool:
        """Whether the worker still is where its parent wants it ended."""
        batch, index, _, end, _, *sought = self.cells[: SOUGHT_END + 1]
        return [batch, index, end] == sought

    def claim(self, begun: int, end: int) -> int:
        """The worker has had its batch up to one index, and takes it up to another; returns up to which it has it."""
        cells = self.cells
        cells[CLAIMED] = end
        batch = cells[BATCH]
        ceded = cells[CEDED + batch % CEDING]
        if ceded >> INDEX_BITS == batch + 1 and ceded & ALL < end:
            cells[CLAIMED] = end = max(begun, ceded & ALL)
        return end

    def unclaimed(self, batch: int) -> int | None:
        """From which index on the worker has not taken a batch; None where it has taken all, or is past it.

        Batches have numbers in the order in which it gets them. Of one that it has not come to, the first record stays.
        """
        if not self._seen:
            return None
        at, claimed = self.cells[BATCH], self.cells[CLAIMED]
        if at != batch:
            return 1 if at < batch else None
        return claimed if claimed < ALL else None

    def cede(self, batch: int, index: int) -> None:
        """From this index on the records of a batch are others', unless the worker takes them just now."""
        self.cells[CEDED + batch % CEDING] = (batch + 1) << INDEX_BITS | index

    def close(self) -> None:
        """Unmap the cells."""
        self.cells.release()
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()
