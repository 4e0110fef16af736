"""Memory for one thing that is large: the system gives a page when it is written to, and more of them without a copy.

An allocator moves memory as it grows, and wipes it where its size is known: with 50 MiB in hand either takes 13 ms, in
which no other thread has the GIL.
"""

from __future__ import annotations

import mmap
import sys
from typing import Any

_PRIVATE: dict[str, Any] = {}
"""What is shared with nobody may grow; where a system has no such thing it is copied as it does."""
if sys.platform != "win32":
    _PRIVATE["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Pages:
    """Bytes that are appended, and seen as one piece at the end.

    Args:
        nbytes: how many there will be, as far as is known.

    Raises:
        MemoryError: the system gives no more; so does `append`.
    """

    def __init__(self, nbytes: int = mmap.PAGESIZE) -> None:
        self._map = _mapped(max(nbytes, mmap.PAGESIZE))
        self.nbytes = 0

    def append(self, piece: bytes | bytearray | memoryview) -> None:
        """Put this behind what is there."""
        end = self.nbytes + len(piece)
        if end > len(self._map):
            self._grow(max(end, 2 * len(self._map)))
        self._map[self.nbytes : end] = piece
        self.nbytes = end

    def view(self) -> memoryview:
        """What was appended. The memory is there for as long as anybody has this, or a part of it."""
        return memoryview(self._map)[: self.nbytes]

    def _grow(self, nbytes: int) -> None:
        try:
            self._map.resize(nbytes)
        except OSError as error:
            raise MemoryError(f"no {nbytes} bytes: {error}") from error
        except SystemError:  # this system cannot
            larger = _mapped(nbytes)
            larger[: self.nbytes] = self._map[: self.nbytes]
            self._map = larger


def _mapped(nbytes: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, nbytes, **_PRIVATE)
    except OSError as error:
        raise MemoryError(f"no {nbytes} bytes: {error}") from error
