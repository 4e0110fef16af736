"""Where bytes are written: a file that is whole or not there, one that is appended to, a pipe, or standard output.

Comes in: lines, which end in a newline. Runs in the sink's thread. What `write` has returned from is with the operating
system: it survives the death of this process; that of the machine too where it was synced.

A job with a checkpoint calls `restore`. From then on a compressed file is made of members, and what the last of them
lacks is in `position`, and not in the file.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from pipeframe_async import compression
from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.sinks.owned import Owned, Spot, spot_of, sync_directory
from pipeframe_async.sinks.squeezing import Form, Members, Plain, Stream, Streams, as_text, from_text
from pipeframe_async.sinks.torn import whole_lines, whole_members, whole_rows
from pipeframe_async.text_files import Quoting

logger = logging.getLogger("pipeframe_async")

FSYNC = ("close", "write", "never")
STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
HEAD: Final = 2**16
"""Bytes of what is there that are looked at. Fewer may not hold a first line."""


class Writer(Protocol):
    """A place for lines."""

    @property
    def empty(self) -> bool:
        """No line is there yet."""

    @property
    def goes_back(self) -> bool:
        """It can be restored."""

    @property
    def head(self) -> bytes:
        """What it begins with, some of it; nothing of what is replaced, or was written elsewhere."""

    def begin(self) -> None:
        """Make it ready for a first line; until then what is there is as it was. More than once it is nothing."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Take all of them, or raise and have none."""

    def position(self) -> dict[str, Any] | None:
        """A JSON value of all that was written, which survives; None where there is no way back."""

    def restore(self, position: dict[str, Any] | None) -> None:
        """Be as it was there, or about to begin. What is there is kept from now on, also when it is not whole."""

    def close(self, *, whole: bool) -> None:
        """No more comes; `whole`: what came is all there is."""


def is_replaced(path: str) -> bool:
    """Whether a file there would be written beside its place, and put there at the end; a pipe is written to."""
    return path != "-" and _descriptor(path) is None and (not os.path.exists(path) or os.path.isfile(path))


def growing(path: str, *, append: bool) -> tuple[str, ...]:
    """Files that become larger while one is written; none of a pipe, a device, or what the shell has opened."""
    if not is_replaced(path):
        return ()
    return (path,) if append else (f"{os.path.realpath(path)}.part",)


def _descriptor(path: str) -> int | None:
    """That a path stands for, of those that this process has: where it leads is not ours to replace."""
    found = re.fullmatch(rf"/(?:dev|proc/self|proc/{os.getpid()})/fd/([0-9]+)", path)
    return int(found[1]) if found else STANDARD.get(path)


def writer(path: str, *, append: bool, kind: str | None, fsync: str, quoting: Quoting | None = None) -> Writer:
    """Open a place.

    Args:
        path: of the file, or `-` for standard output.
        append: to what is there; else what is there is replaced when all is written.
        kind: what it is compressed with, of `compression.KINDS`; None where it is not.
        fsync: one of `FSYNC`.
        quoting: newlines in quotes end no line.

    Raises:
        OSError: it cannot be opened.
        StateError: another process or run is writing it.
    """
    if path == "-" or _descriptor(path) is not None:
        return _Streamed(path, kind)
    mode = os.stat(path).st_mode if os.path.exists(path) else None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if mode is not None and not stat.S_ISREG(mode):
        return _Streamed(path, kind)
    return _Appended(path, kind, fsync, quoting) if append else _Whole(path, kind, fsync, mode)


class _Whole:
    """A file that is written beside its place, and put there when it is whole."""

    goes_back = True
    head = b""

    def __init__(self, path: str, kind: str | None, fsync: str, mode: int | None) -> None:
        self._path = os.path.realpath(path)  # what a link leads to is replaced, and the link stays
        self._kind = kind
        self._fsync = fsync
        self._form: Form = Plain() if kind is None else Stream(kind)
        self._begun = False
        self._kept = False  # what is there when this ends is there for the next one
        self._file = file = Owned(f"{self._path}.part", path, fsync)
        try:
            if mode is not None:
                file.allow(mode)
        except BaseException:
            file.close()
            raise

    @property
    def empty(self) -> bool:
        """Nothing was written."""
        return self._file.size == 0 and not self._form.pending

    def begin(self) -> None:
        """Let go of what one has left here that was killed."""
        if not self._begun:
            self._begun = True
            self._file.cut(0)

    def write(self, lines: Sequence[bytes]) -> None:
        """Behind what is there."""
        self.begin()
        _put(self._file, self._form, lines)

    def position(self) -> dict[str, Any] | None:
        """Its end, and what is in no member yet."""
        return _spot(self._file, self._form, self._kind).as_json() if self._kept else None

    def restore(self, position: dict[str, Any] | None) -> None:
        """Cut back the file beside its place; where one has put it there, it is taken from there."""
        if position is not None:
            spot = spot_of(position, self._kind, self._path)
            form = _form(self._kind, spot, self._path)
            if not self._file.has(spot) and not self._file.take(self._path, spot):
                raise self._gone(spot)
            self._file.cut(spot.size)
            self._form, self._begun = form, True
        elif self._kind is not None:
            self._form = Members(self._kind)
        self._kept = True
        sync_directory(self._path, self._fsync)  # of a file without a name nothing survives the machine

    def _gone(self, spot: Spot) -> CheckpointMismatch:
        placed = f"{os.stat(self._path).st_size:,} bytes" if os.path.isfile(self._path) else "is not there"
        return CheckpointMismatch(
            f"{self._path}: {placed}, and {self._path}.part: {self._file.size:,} bytes; neither begins with the "
            f"{spot.size:,} bytes that the job has written: put its file back, or begin anew"
        )

    def close(self, *, whole: bool) -> None:
        """Put it in its place; what is not whole is removed, unless it is kept."""
        try:
            if whole:
                self.begin()
                self._file.append(self._form.end())
                self._file.put(self._path)
        except BaseException:
            whole = False
            raise
        finally:
            if not whole:
                self._let_go()
        sync_directory(self._path, self._fsync)

    def _let_go(self) -> None:
        if self._kept or (self._file.size and not self._begun):
            self._file.close()  # of one that has not begun, it may be a job's that could not be gone on with
        else:
            self._file.remove()


class _Appended:
    """A file that is appended to, so that what is in it are whole lines at every moment but that of a write."""

    goes_back = True

    def __init__(self, path: str, kind: str | None, fsync: str, quoting: Quoting | None) -> None:
        self._path = path
        self._kind = kind
        self._quoting = quoting
        self._form: Form = Plain() if kind is None else Streams(kind)
        self._begun = False
        self._kept = False
        self._fsync = fsync
        self._file = Owned(path, path, fsync)

    @property
    def empty(self) -> bool:
        """There is no line in it."""
        return self._file.size == 0 and not self._form.pending

    @property
    def head(self) -> bytes:
        """What its first bytes say."""
        begin = self._file.part(0, HEAD)
        return begin if self._kind is None or not begin else compression.decompressor(self._kind).decompress(begin)

    def begin(self) -> None:
        """Put aside what is torn.

        Raises:
            OSError: it was damaged otherwise than by a kill: it is as it was.
        """
        if self._begun:
            return
        self._begun = True
        try:
            end = self._whole()
        except ValueError as error:
            raise OSError(f"{self._path} cannot be appended to: {error}") from error
        if torn := self._file.size - end:
            aside = f"{self._path}.torn"
            self._file.cut(end, aside)
            logger.warning("%s ended in %s bytes of a torn line, which are in %s now", self._path, f"{torn:,}", aside)

    def _whole(self) -> int:
        if self._kind is not None:
            return whole_members(self._file, self._kind)
        return whole_lines(self._file) if self._quoting is None else whole_rows(self._file, self._quoting)

    def write(self, lines: Sequence[bytes]) -> None:
        """Behind what is there."""
        self.begin()
        _put(self._file, self._form, lines)

    def position(self) -> dict[str, Any] | None:
        """Its end, and what is in no member yet."""
        return _spot(self._file, self._form, self._kind).as_json() if self._kept else None

    def restore(self, position: dict[str, Any] | None) -> None:
        """Cut it back; where the job begins, what is there stays."""
        if position is not None:
            spot = spot_of(position, self._kind, self._path)
            form = _form(self._kind, spot, self._path)
            if not self._file.has(spot):
                raise CheckpointMismatch(
                    f"{self._path} has {self._file.size:,} bytes, and does not begin with the {spot.size:,} that were "
                    "in it when the job was last heard of: put its file back, or begin anew"
                )
            self._file.cut(spot.size)
            self._form, self._begun = form, True
        elif self._kind is not None:
            self._form = Members(self._kind)
        self._kept = True
        sync_directory(self._path, self._fsync)

    def close(self, *, whole: bool) -> None:
        """All of it is there already, but for a last member."""
        try:
            if whole:
                self.begin()
            with suppress(*() if whole else (OSError,)):  # of an error there is one already
                self._file.append(self._form.end())
            self._file.sync_at_end()
        finally:
            self._file.close()


class _Streamed:
    """Standard output, a pipe or a device: there is nothing to put in its place, and its reader may go away."""

    empty = True
    goes_back = False
    head = b""

    def __init__(self, path: str, kind: str | None) -> None:
        self._path = path
        self._form: Form = Plain() if kind is None else Stream(kind)
        self._own = path != "-"
        descriptor = _descriptor(path)
        if self._own and descriptor is None:
            self._file = os.open(path, os.O_WRONLY)  # of a pipe, when somebody reads it
            return
        if not self._own and sys.stdout is None:
            raise OSError("standard output is closed")
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(ValueError):
                stream.flush()  # what the program has printed comes before
        self._file = sys.stdout.fileno() if descriptor is None else os.dup(descriptor)

    def begin(self) -> None:
        """It is ready."""

    def write(self, lines: Sequence[bytes]) -> None:
        """What is not taken is not written twice: a pipe that breaks is of no use any more."""
        self._write(self._form.put(lines))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:  # somebody has made it so, and its reader is slow
                if sys.platform == "win32":
                    raise
                waiting = select.poll()
                waiting.register(self._file, select.POLLOUT)
                waiting.poll()

    def position(self) -> None:
        """What was read cannot be taken back."""

    def restore(self, position: dict[str, Any] | None) -> None:
        """It always begins: who reads it may be given again what came after the state was last written."""
        if position is not None:
            raise CheckpointMismatch(f"{self._path} is no file, and the job has written one: go on with that")

    def close(self, *, whole: bool) -> None:
        """Standard output stays open."""
        try:
            if whole:
                self._write(self._form.end())
        finally:
            if self._own:
                os.close(self._file)


def _put(file: Owned, form: Form, lines: Sequence[bytes]) -> None:
    """All of them, or none."""
    try:
        file.append(form.put(lines))
    except BaseException:
        form.undo()
        raise


def _spot(file: Owned, form: Form, kind: str | None) -> Spot:
    return file.spot(kind=kind, pending=as_text(form.pending))


def _form(kind: str | None, spot: Spot, path: str) -> Form:
    """What goes on with what was pending."""
    try:
        return Plain() if kind is None else Members(kind, from_text(spot.pending))
    except ValueError as error:
        raise CheckpointMismatch(f"what the job has kept of {path} cannot be read: {error}") from error
