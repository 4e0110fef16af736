"""A real terminal for tests: a pty, its size, and everything that was written to it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminal:
    """The program's end is `slave`; what it writes there is collected, by a thread, until that end is closed."""

    def __init__(self, columns: int) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, name="terminal")
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 4096):
                self._written += data
        except OSError:  # how Linux says that the other end is closed
            return

    def written(self) -> str:
        """All that was written, once nobody has the terminal open any more."""
        os.close(self.slave)
        self._reader.join(10)
        assert not self._reader.is_alive(), "somebody still has the terminal open"
        self.slave = -1
        return self._written.decode()

    def close(self) -> None:
        if self.slave != -1:
            os.close(self.slave)
            self._reader.join(10)
        os.close(self._master)


@contextmanager
def terminal(columns: int = 100) -> Iterator[Terminal]:
    """A terminal for the length of a block."""
    opened = Terminal(columns)
    try:
        yield opened
    finally:
        opened.close()
