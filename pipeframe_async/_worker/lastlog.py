"""The last lines a worker has logged, in memory that outlives it: what it sent may be in nobody's hands when it dies.

A ring of slots of one size. A line is written beside its slot's number, which comes last: one that was cut short by
the worker's end does not count. Writing one costs 2 µs.

Process: `say` in the worker, in any thread; `last_lines` in the parent, when it has ended.
"""

from __future__ import annotations

import mmap
import struct
from itertools import count
from typing import Final

SLOTS: Final = 20
"""Lines that are kept. More would be read by nobody who looks for the last ones."""
SLOT_BYTES: Final = 1024
"""Of a slot; a longer line is cut. Smaller loses the message of an exception, larger is memory of every worker."""
LAST_BYTES: Final = 4 * 1024
"""Of all lines of one record that a failure has, the newest: failures are kept, sent and written by the thousand."""

_HEAD: Final = struct.Struct("<QQqI")
"""Which line it is, counted from 1; of which batch; at which record, or -1; and the bytes of its text, which follow."""
_NUMBER: Final = struct.Struct("<Q")
NBYTES: Final = SLOTS * SLOT_BYTES


class LastLog:
    """The ring, as its worker writes it.

    Args:
        fd: of the file that the parent reads; private memory without one.
    """

    def __init__(self, fd: int = -1) -> None:
        self._memory = mmap.mmap(fd, NBYTES)
        self._numbers = count(1)

    def say(self, text: str, batch: int, index: int | None) -> None:
        """A line was logged."""
        number = next(self._numbers)
        at = (number % SLOTS) * SLOT_BYTES
        data = text[:SLOT_BYTES].encode("utf-8", "backslashreplace")[: SLOT_BYTES - _HEAD.size]
        end = at + _HEAD.size + len(data)
        _HEAD.pack_into(self._memory, at, 0, batch, -1 if index is None else index, len(data))
        self._memory[at + _HEAD.size : end] = data
        _NUMBER.pack_into(self._memory, at, number)

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()


def last_lines(data: bytes, batch: int, index: int | None) -> str:
    """The last lines that were logged in a batch, oldest first; at one of its records where that is known.

    Args:
        data: the ring.
        batch: the batch's number.
        index: of the record; None for all of the batch. Lines of threads that a step has started count for each.
    """
    lines = []
    for at in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        number, of, where, size = _HEAD.unpack_from(data, at)
        if number and of == batch and (index is None or where in (index, -1)):
            text = data[at + _HEAD.size : at + min(SLOT_BYTES, _HEAD.size + size)]
            lines.append((number, text.decode("utf-8", "ignore")))
    kept: list[str] = []
    room = LAST_BYTES
    for _, line in sorted(lines, reverse=True):
        room -= len(line) + 1
        if room < 0 and kept:
            break
        kept.append(line)
    return "\n".join(reversed(kept))
