"""The cursor: which record a worker is at, in memory the parent can read after the worker has died.

Two unsigned 64-bit cells: the batch's number and the record's index in it. A write costs 27-65 ns.
"""

from __future__ import annotations

import mmap

CELLS = 2
NBYTES = CELLS * 8
IDLE = 2**64 - 1
"""The index of a worker that is at no record."""


class Cursor:
    """A worker's place. `cells[0]` is the batch, `cells[1]` the record's index; the hot loop writes it bare."""

    __slots__ = ("_memory", "cells")

    def __init__(self, fd: int = -1) -> None:
        """Map the cells: of `fd` where the parent is to see them, private memory without one."""
        self._memory = mmap.mmap(fd, NBYTES)
        self.cells = memoryview(self._memory).cast("Q")
        self.leave()

    def enter(self, batch: int) -> None:
        """Say which batch is being worked on."""
        self.cells[0] = batch

    def leave(self) -> None:
        """Say that no record is being worked on."""
        self.cells[1] = IDLE

    def read(self) -> tuple[int, int | None]:
        """The batch's number and the record's index, or None for no record."""
        batch, index = self.cells
        return batch, None if index == IDLE else index

    def close(self) -> None:
        """Unmap the cells."""
        self.cells.release()
        self._memory.close()
