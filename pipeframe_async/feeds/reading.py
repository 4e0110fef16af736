"""Files as blocks of bytes: found, opened, decompressed within limits. Runs in the feed's thread, never on the loop.

Comes in: paths and globs, `-` for standard input. Goes out: bytes; an empty block where nothing came for a while, so
that who pulls can look whether it is wanted any more.
"""

from __future__ import annotations

import glob
import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Protocol, cast

from pipeframe_async import compression
from pipeframe_async.errors import CheckpointMismatch

BLOCK = 2**18
"""Bytes read at once. More make the first record wait and hold more memory; fewer cost a call each."""
QUIET = 0.2
"""Seconds without anything from a pipe after which who pulls looks around. Longer holds up a stop, shorter costs."""
OFFSET = 2**64 - 1
"""Of what `tell` of a text file returns, where its bytes were read to; beyond are states of decoders."""
UNJUDGED = 64 * 2**20
"""Bytes a file may yield whatever it expands by. Fewer refuse small files of zeros, more let a small bomb pass."""


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes | None:
        """The next bytes, at most so many; none at the end."""


class Files(Protocol):
    """Where files are."""

    def found(self, paths: Sequence[str]) -> Iterator[str]:
        """Those that are meant."""

    def blocks(self, path: str, kind: str | None, max_expansion: float | None, start: int = 0) -> Iterator[bytes]:
        """The bytes of one, behind the first `start`."""

    def lasts(self, path: str) -> bool:
        """Whether what was read of one can be read again."""

    def size(self, path: str) -> int:
        """Bytes of one that lasts, as they are stored."""


class Local:
    """On this machine."""

    def found(self, paths: Sequence[str]) -> Iterator[str]:
        """The files that are meant, in the order given, those of a glob by name and without directories.

        Raises:
            FileNotFoundError: a glob that nothing matches.
        """
        for path in paths:
            if path == "-" or not glob.has_magic(path) or os.path.exists(path):
                yield path
                continue
            if not (matches := sorted(found for found in glob.glob(path, recursive=True) if not os.path.isdir(found))):
                raise FileNotFoundError(f"no file matches {path}")
            yield from matches

    def lasts(self, path: str) -> bool:
        """A file does; a pipe does not, nor does standard input."""
        return path != "-" and os.path.isfile(path)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return os.stat(path).st_size

    def blocks(self, path: str, kind: str | None, max_expansion: float | None, start: int = 0) -> Iterator[bytes]:
        """The bytes of one file.

        Args:
            path: its path, or `-`.
            kind: what it is compressed with, of `compression.KINDS`; None where it is not.
            max_expansion: bytes it may yield for each that it has, beyond the first 64 MiB.
            start: bytes to pass over: of a compressed file they are read and dropped.

        Raises:
            OSError: it cannot be read, or is damaged; the message names it.
            ValueError: it expands by more than may be.
            CheckpointMismatch: a compressed file has less than `start`.
        """
        with ExitStack() as stack:
            raw = _standard_input() if path == "-" else stack.enter_context(open(path, "rb", buffering=0))
            if kind is not None:
                yield from behind(start, path, decompressed(path, kind, raw, max_expansion))
            elif stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
                if path != "-":
                    raw.seek(start)
                while block := raw.read(BLOCK):
                    yield block
            else:
                yield from _piped(raw.fileno())


def _standard_input() -> IO[bytes]:
    """It, where the program stands in it: of a file that is known. What it has read ahead of a pipe stays with it."""
    if sys.stdin is None:
        raise OSError("standard input is closed")
    raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115 - there is nothing to close
    if stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        try:
            raw.seek(sys.stdin.tell() & OFFSET)
        except OSError as error:
            raise OSError(f"where standard input stands is not known ({error}): pass feed=sys.stdin") from error
    return raw


def _piped(descriptor: int) -> Iterator[bytes]:
    """What comes through a pipe, as it comes."""
    while True:
        if not _has_come(descriptor):
            yield b""
        elif block := os.read(descriptor, BLOCK):
            yield block
        else:
            return


def _has_come(descriptor: int) -> bool:
    """Whether there is something to read, or the end; not before `QUIET` seconds it says that there is not."""
    if sys.platform == "win32":
        return True  # it cannot be asked
    waiting = select.poll()  # `select` knows no more than 1,024 descriptors
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(QUIET * 1000))


def decompressed(path: str, kind: str, raw: Readable, max_expansion: float | None) -> Iterator[bytes]:
    """What is in compressed bytes, a block at a time, within limits."""
    counted = _Counted(raw)
    total = 0
    try:
        file = compression.reader(kind, cast("IO[bytes]", counted))
        while block := file.read(BLOCK):
            total += len(block)
            if max_expansion is not None and total > max(UNJUDGED, max_expansion * counted.taken):
                raise ValueError(
                    f"{path} has yielded {total:,} bytes for {counted.taken:,} of {kind}, more than max_expansion="
                    f"{max_expansion:g} times as many: it was made to fill memory or disk, or needs max_expansion=None"
                )
            yield block
    except compression.errors(kind) as error:
        raise OSError(f"{path} cannot be read as {kind}: {error}") from error


def behind(start: int, path: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks without their first `start` bytes.

    Raises:
        CheckpointMismatch: there are fewer.
    """
    left = start
    while left:
        if (block := next(blocks, None)) is None:
            raise CheckpointMismatch(
                f"{path} ends at {start - left:,}, and the job has read it to {start:,}: it is another file now"
            )
        if len(block) > left:
            yield block[left:]
        left -= min(left, len(block))
    yield from blocks


class _Counted:
    """A file, and how many bytes of it were taken."""

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        block = self._raw.read(size if size >= 0 else BLOCK) or b""
        self.taken += len(block)
        return block

    def seekable(self) -> bool:
        """It is only read on."""
        return False

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Its owner does."""
