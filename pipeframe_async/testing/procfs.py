"""What /proc says of processes, their environments and their descriptors. Reads only; knows nothing of tests.

Processes come and go while one looks: what has vanished, or may not be read, is left out.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
AVAILABLE = (PROC / "self" / "fd").is_dir()


@dataclass(frozen=True, slots=True)
class Process:
    """A process; the start time tells it from a later one with the same number."""

    pid: int
    parent: int
    state: str
    started: int

    @property
    def identity(self) -> tuple[int, int]:
        """What no other process has, before or after it."""
        return self.pid, self.started

    @property
    def command(self) -> str:
        """Its command line."""
        words = _read(self.pid, "cmdline").rstrip(b"\0").split(b"\0")
        return b" ".join(words).decode(errors="replace")

    def has_in_environment(self, text: str) -> bool:
        """Whether the environment it was started with has this text in it."""
        return text.encode() in _read(self.pid, "environ")

    def descriptors(self) -> dict[int, str]:
        """Its open descriptors, each with what it leads to."""
        return descriptors(self.pid)

    def uses(self, file: os.stat_result) -> bool:
        """Whether it has this file open or mapped, by whatever name it once opened it."""
        return (file.st_dev, file.st_ino) in self._open_files() | self._mapped_files()

    def _open_files(self) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for number in self.descriptors():
            with suppress(OSError):
                file = (PROC / str(self.pid) / "fd" / str(number)).stat()
                found.add((file.st_dev, file.st_ino))
        return found

    def _mapped_files(self) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        if sys.platform == "win32":
            return found
        for line in _read(self.pid, "maps").splitlines():
            _, _, _, device, inode = line.split(maxsplit=5)[:5]
            major, _, minor = device.partition(b":")
            found.add((os.makedev(int(major, 16), int(minor, 16)), int(inode)))
        return found

    def __str__(self) -> str:
        return f"process {self.pid} (parent {self.parent}, state {self.state}): {self.command or 'no command'}"


def processes() -> dict[int, Process]:
    """Every process of the machine, by number."""
    pids = [int(name) for name in os.listdir(PROC) if name.isdigit()]
    return {pid: process for pid in pids if (process := _process(pid)) is not None}


def this_process() -> Process:
    """The one that looks."""
    found = _process(os.getpid())
    assert found is not None
    return found


def descriptors(pid: int) -> dict[int, str]:
    """The open descriptors of a process, each with what it leads to."""
    found: dict[int, str] = {}
    with suppress(OSError):
        for name in os.listdir(PROC / str(pid) / "fd"):
            with suppress(OSError):  # the descriptor that lists them is closed by now
                found[int(name)] = os.readlink(PROC / str(pid) / "fd" / name)
    return found


def _process(pid: int) -> Process | None:
    # The second field is the name in brackets, and may itself hold spaces and brackets.
    _, _, rest = _read(pid, "stat").rpartition(b")")
    fields = rest.split()
    if len(fields) < 20:
        return None
    return Process(pid, int(fields[1]), fields[0].decode(), int(fields[19]))


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def is_open(fd: int) -> bool:
    """Whether this process has such a descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
