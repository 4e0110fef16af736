"""Files without a name: memory of one process that others of this host can open, gone with the last that has it open.

Comes in: a descriptor, or the `Address` of one. Goes out: a descriptor. Each file that has an address begins with its
token, by which it is told from another one that has its number by now. What else is in it, this does not know.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from functools import cache
from platform import node
from typing import NamedTuple

from pipeframe_async.errors import ConfigError, StateError

MEMORY = "/dev/shm"
"""Where semaphores are as well, so that it is there where there are pools."""
SHARED = "pipeframe-shared"
"""What a file is called, for those who look at a process, that has what `share` was given."""
TOKEN_BYTES = 16
"""Of a token, by chance: two files never have the same."""
_OPEN = "/proc/{}/fd/{}"
_BOOT = "/proc/sys/kernel/random/boot_id"
_PIDS = "/proc/self/ns/pid"


class Address(NamedTuple):
    """Where a file without a name is open.

    Attributes:
        host: its host, for people.
        kernel: which start of which kernel, and which of its process numbers, `pid` is of.
        pid: a process that has it open.
        fd: its descriptor there.
    """

    host: str
    kernel: str
    pid: int
    fd: int


def make(name: str, nbytes: int = 0) -> int:
    """A file without a name, in memory where the system has that and gives us some.

    Args:
        name: for those who look at a process.
        nbytes: to be had for certain, where it is on a disk: one that is full would show when memory is written.

    Raises:
        OSError: there is no place for one.
    """
    if (fd := _memfd(name)) is not None:
        return fd
    import tempfile

    for place in (MEMORY, None):
        with suppress(OSError), tempfile.TemporaryFile(prefix=f"{name}-", dir=place) as file:
            if nbytes and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, nbytes)
            return os.dup(file.fileno())
    raise OSError(f"there is no place for a file without a name: no memfd, no {MEMORY}, no directory for such files")


def has_memfd() -> bool:
    """Whether a file without a name is memory here that no directory is needed for."""
    if (fd := _memfd("pipeframe-try")) is None:
        return False
    os.close(fd)
    return True


def _memfd(name: str) -> int | None:
    """A file in memory, where there is such a thing: a Python may be built without it, a sandbox may refuse it."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            return os.memfd_create(name)
    return None


def can_be_found() -> bool:
    """Whether other processes of this user can open what this one has open: on Linux, unless it hides that.

    A process hides it that has changed its user, or has said so with `prctl(PR_SET_DUMPABLE)`.
    """
    if sys.platform != "linux":
        return False
    try:
        return os.stat("/proc/self/fd").st_uid == os.geteuid()
    except OSError:  # there is no /proc
        return False


def address_of(fd: int) -> Address:
    """Where others find a file of this process."""
    return Address(node(), _kernel(), os.getpid(), fd)


def is_here(fd: int, token: bytes) -> bool:
    """Whether this descriptor still is the file with this token: somebody may have closed all there were."""
    if sys.platform == "win32":
        return False  # where none is made
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and os.pread(fd, TOKEN_BYTES, 0) == token
    except OSError:
        return False


def opened(address: Address, token: bytes) -> int:
    """Open a file that another process has open, to read it.

    Raises:
        ConfigError: that process is on another host or in another container, or cannot be looked into.
        StateError: it is gone, or does not have the file any more.
    """
    if sys.platform != "linux" or address.kernel != _kernel():
        raise ConfigError(
            f"what was shared in process {address.pid} on {address.host} cannot be read in process {os.getpid()} on "
            f"{node()}: they are on different hosts, or in different containers. Load it in setup(self)"
        )
    path = _OPEN.format(address.pid, address.fd)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FileNotFoundError(path)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise ConfigError(
            f"what was shared in process {address.pid} cannot be read in process {os.getpid()}, which may not look "
            f"into it: {error}. Start both as the same user, or load it in setup(self)"
        ) from error
    except FileNotFoundError as error:
        raise _gone(address) from error
    if not is_here(fd, token):
        os.close(fd)
        raise _gone(address)
    return fd


def _gone(address: Address) -> StateError:
    return StateError(
        f"what was shared in process {address.pid} is not there any more: that process has ended, or has let go of the "
        "handle. Keep what share(obj) has returned for as long as steps or records refer to it"
    )


@cache
def _kernel() -> str:
    with open(_BOOT, encoding="ascii") as boot:
        return f"{boot.read().strip()} {os.readlink(_PIDS)}"
