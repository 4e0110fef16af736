"""Where bytes are written: a file that is whole or not there, one that is appended to, a pipe, or standard output.

Comes in: bytes that end in a newline. Runs in the sink's thread. What `write` has returned from is with the operating
system: it survives the death of this process; that of the machine too where it was synced.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
from contextlib import suppress
from typing import IO, Protocol, cast

from pipeframe_async import compression
from pipeframe_async.compression import Compressor
from pipeframe_async.errors import StateError

logger = logging.getLogger("pipeframe_async")

BLOCK = 2**20
"""Bytes read at once while a torn tail is looked for."""

FSYNC = ("close", "write", "never")


class Writer(Protocol):
    """A place for bytes; `empty`: nothing is there yet."""

    empty: bool

    def write(self, data: bytes) -> None:
        """Take all of it, or raise and have none of it."""

    def close(self, *, whole: bool) -> None:
        """No more comes; `whole`: what came is all there is."""


def is_replaced(path: str) -> bool:
    """Whether a file there would be written beside its place, and put there at the end; a pipe is written to."""
    return path != "-" and (not os.path.exists(path) or os.path.isfile(path))


def writer(path: str, *, append: bool, kind: str | None, fsync: str, quote: bytes | None = None) -> Writer:
    """Open a place.

    Args:
        path: of the file, or `-` for standard output.
        append: to what is there; else what is there is replaced when all is written.
        kind: what it is compressed with, of `compression.KINDS`; None where it is not.
        fsync: one of `FSYNC`.
        quote: newlines between two of these end no line.

    Raises:
        OSError: it cannot be opened.
        StateError: another process or run is writing it.
    """
    mode = None if path == "-" or not os.path.exists(path) else os.stat(path).st_mode
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    streamed = path == "-" or (mode is not None and not stat.S_ISREG(mode))
    if append and not streamed:
        return _Appended(path, kind, fsync, quote)
    squeezed = None if kind is None else compression.compressor(kind)
    return _Streamed(path, squeezed) if streamed else _Whole(path, squeezed, fsync, mode)


class _File:
    """A file of this writer's alone, written at its end; a write that fails leaves nothing of it behind."""

    def __init__(self, path: str, name: str, fsync: str) -> None:
        self._fsync = fsync
        self._path = path
        self._file = _locked(path, name)
        self.size = os.fstat(self._file.fileno()).st_size

    def allow(self, mode: int) -> None:
        """Let those read and write it that may with this mode."""
        os.chmod(self._path, stat.S_IMODE(mode))

    def put(self, path: str) -> None:
        """It is there, and nobody's any more."""
        self.sync_at_end()
        self._before_it_is_moved()
        os.replace(self._path, path)  # another writer who has waited for the lock finds that it is gone
        self._file.close()

    def remove(self) -> None:
        """It is nowhere."""
        self._before_it_is_moved()
        with suppress(OSError):
            os.unlink(self._path)
        self._file.close()

    def _before_it_is_moved(self) -> None:
        if os.name == "nt":  # where one that is open stays where it is
            self._file.close()

    def cut(self, size: int) -> None:
        """Keep so many bytes of it."""
        self._file.truncate(size)
        self.size = size

    def read(self, at: int) -> bytes:
        """The bytes there, some of them."""
        self._file.seek(at)
        return self._file.read(BLOCK) or b""

    def append(self, data: bytes) -> None:
        """Write all of it, or none."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
        except BaseException as error:
            with suppress(OSError):
                self._file.truncate(self.size)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = self._path
            raise
        self.size += len(data)
        if self._fsync == "write":
            self.sync()

    def sync(self) -> None:
        """To the disk."""
        os.fsync(self._file.fileno())

    def sync_at_end(self) -> None:
        """To the disk, unless nobody wants that."""
        if self._fsync != "never":
            self.sync()

    def close(self) -> None:
        """It is nobody's any more."""
        self._file.close()


class _Whole:
    """A file that is written beside its place, and put there when it is whole."""

    empty = True

    def __init__(self, path: str, squeezed: Compressor | None, fsync: str, mode: int | None) -> None:
        self._path = os.path.realpath(path)  # what a link leads to is replaced, and the link stays
        self._squeezed = squeezed
        self._fsync = fsync
        self._file = file = _File(f"{self._path}.part", path, fsync)
        try:
            file.cut(0)  # of one that was killed
            if mode is not None:
                file.allow(mode)
        except BaseException:
            file.close()
            raise

    def write(self, data: bytes) -> None:
        """Behind what is there."""
        self._file.append(data if self._squeezed is None else self._squeezed.compress(data))

    def close(self, *, whole: bool) -> None:
        """Put it in its place; what is not whole is removed."""
        try:
            if whole:
                if self._squeezed is not None:
                    self._file.append(self._squeezed.flush())
                self._file.put(self._path)
        except BaseException:
            whole = False
            raise
        finally:
            if not whole:
                self._file.remove()
        _sync_directory(self._path, self._fsync)


class _Appended:
    """A file that is appended to, so that what is in it are whole lines at every moment but that of a write."""

    def __init__(self, path: str, kind: str | None, fsync: str, quote: bytes | None) -> None:
        self._kind = kind
        self._file = file = _File(path, path, fsync)
        try:
            if kind is not None:
                end = _whole_members(file, kind)
            else:
                end = _whole_lines(file) if quote is None else _whole_rows(file, quote)
            if end < (size := file.size):
                logger.warning("%s ended in %s bytes of a torn line, which were cut off", path, f"{size - end:,}")
                file.cut(end)
        except BaseException:
            file.close()
            raise
        self.empty = file.size == 0

    def write(self, data: bytes) -> None:
        """Behind what is there; compressed by itself, so that it can be read whatever comes after it."""
        if self._kind is not None:
            squeezed = compression.compressor(self._kind)
            data = squeezed.compress(data) + squeezed.flush()
        self._file.append(data)

    def close(self, *, whole: bool) -> None:
        """All of it is there already."""
        try:
            self._file.sync_at_end()
        finally:
            self._file.close()


class _Streamed:
    """Standard output, a pipe or a device: there is nothing to put in its place, and its reader may go away."""

    empty = True

    def __init__(self, path: str, squeezed: Compressor | None) -> None:
        self._squeezed = squeezed
        self._own = path != "-"
        if self._own:
            self._file = os.open(path, os.O_WRONLY)  # of a pipe, when somebody reads it
            return
        if sys.stdout is None:
            raise OSError("standard output is closed")
        with suppress(ValueError):
            sys.stdout.flush()  # what the program has printed comes before
        self._file = sys.stdout.fileno()

    def write(self, data: bytes) -> None:
        """What is not taken is not written twice: a pipe that breaks is of no use any more."""
        self._write(data if self._squeezed is None else self._squeezed.compress(data))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]

    def close(self, *, whole: bool) -> None:
        """Standard output stays open."""
        try:
            if self._squeezed is not None and whole:
                self._write(self._squeezed.flush())
        finally:
            if self._own:
                os.close(self._file)


def _locked(path: str, name: str) -> IO[bytes]:
    """A file that is this writer's alone; it may be moved away by the one before just as it is opened."""
    while True:
        file = cast("IO[bytes]", open(path, "a+b", buffering=0))  # noqa: SIM115 - closed by whoever has it
        try:
            _lock(file.fileno(), name)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: int, path: str) -> None:
    """It is this writer's, until it is closed; also by the death of its process."""
    try:
        import fcntl
    except ImportError:
        return  # not on Windows
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(f"{path} is being written by another run or process") from None


def _sync_directory(path: str, fsync: str) -> None:
    """So that the new name survives the machine, where it has directories that can be synced."""
    if fsync == "never":
        return
    with suppress(OSError):
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _whole_lines(file: _File) -> int:
    """Where the last line ends that has its newline."""
    end = file.size
    while end:
        start = max(0, end - BLOCK)
        if (found := file.read(start)[: end - start].rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0


def _whole_rows(file: _File, quote: bytes) -> int:
    """Where the last row ends that has its newline, which is in no quotes."""
    whole, at, quoted = 0, 0, False
    while block := file.read(at):
        for line in block.splitlines(keepends=True):
            quoted ^= line.count(quote) % 2 == 1
            at += len(line)
            if not quoted and line.endswith(b"\n"):
                whole = at
    return whole


def _whole_members(file: _File, kind: str) -> int:
    """Where the last of the streams ends, one after the other, that is whole."""
    whole, at, stream, rest = 0, 0, compression.decompressor(kind), b""
    while True:
        if not rest:
            rest = file.read(at)
            at += len(rest)
        if not rest:
            return whole
        try:
            stream.decompress(rest)
        except compression.errors(kind):
            return whole
        rest = stream.unused_data if stream.eof else b""
        if stream.eof:
            whole = at - len(rest)
            stream = compression.decompressor(kind)
