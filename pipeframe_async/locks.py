"""A lock between processes, which goes with the process that has it.

It is on an open file, of which a forked child has a copy: it lets go of that at once, or the lock would be held for as
long as it lives. One that was forked by others than Python does not.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import FileIO
from weakref import WeakSet

_held: WeakSet[FileIO] = WeakSet()
"""What this process has locked, or tried to."""


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
            self._file = FileIO(self._path, "a+")
            try:
                self.mine = locked(self._file)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path)):
                        return
            except BaseException:
                self._file.close()
                raise
            self._file.close()  # who had it has removed it meanwhile

    def take_over(self) -> None:
        """Who has it is gone, and has handed it down: those may keep the file it was on. One caller at a time."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        before = self._file
        self._open()
        before.close()

    def release(self) -> None:
        """Let others have it."""
        if self.mine and not self._file.closed and os.name != "nt":
            with suppress(OSError):
                os.unlink(self._path)
        self._file.close()


def locked(file: FileIO) -> bool:
    """Whether an open file is this process's alone, until it is closed."""
    if sys.platform == "win32":
        return True  # it has no such locks
    import fcntl

    _held.add(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go() -> None:
    """In a child that was forked: its parent's locks are none of its own."""
    for file in [*_held]:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
