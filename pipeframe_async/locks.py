"""A lock between processes, which goes with the process that has it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


class Lock:
    """A lock on a file of its own, that goes with the process that has it and the children to which it was handed down.

    Args:
        path: of the file; it is made, and removed by who has had the lock.

    Attributes:
        mine: nobody else has it. Always, where the system has no such locks.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self.mine = locked(self._file)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                        return
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)  # who had it has removed it meanwhile

    def take_over(self) -> None:
        """Who has it is gone, and has handed it down: those may keep the file it was on. One caller at a time."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        before = self._file
        self._open()
        os.close(before)

    def release(self) -> None:
        """Let others have it."""
        if self.mine and os.name != "nt":
            with suppress(OSError):
                os.unlink(self._path)
        os.close(self._file)


def locked(file: int) -> bool:
    """Whether an open file is this process's alone, until it is closed."""
    if sys.platform == "win32":
        return True  # it has no such locks
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
