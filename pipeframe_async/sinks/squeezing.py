"""Lines into the bytes of a file: as they are, as one compressed stream, as one each time, or as members.

Pure values: no file is opened here. What a reader decompresses is the same in all four.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Final, Protocol

from pipeframe_async import compression

MEMBER: Final = 2**20
"""Bytes of lines that are compressed as a member of their own. Fewer compress worse (most of all xz), more make a
position larger, and let more wait in memory for their end."""


class Form(Protocol):
    """What becomes of lines."""

    @property
    def pending(self) -> bytes:
        """Those of them that are in no bytes yet."""

    def put(self, lines: Sequence[bytes]) -> bytes:
        """What is to be written now."""

    def undo(self) -> None:
        """What was put last was not written: have none of it."""

    def end(self) -> bytes:
        """What is to be written when no more comes."""


class Plain:
    """Lines as they are."""

    pending = b""

    def put(self, lines: Sequence[bytes]) -> bytes:
        """All of them."""
        return b"".join(lines)

    def undo(self) -> None:
        """There is nothing to it."""

    def end(self) -> bytes:
        """Nothing waits."""
        return b""


class Stream:
    """One compressed stream from the first line to the last, the smallest. It cannot be gone on with by another."""

    pending = b""

    def __init__(self, kind: str) -> None:
        self._stream = compression.compressor(kind)

    def put(self, lines: Sequence[bytes]) -> bytes:
        """What comes out of it at once."""
        return self._stream.compress(b"".join(lines))

    def undo(self) -> None:
        """It is of no use any more."""

    def end(self) -> bytes:
        """Its end."""
        return self._stream.flush()


class Streams:
    """A compressed stream for each list of lines, which can be read whatever comes after it."""

    pending = b""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def put(self, lines: Sequence[bytes]) -> bytes:
        """The stream of these."""
        return squeezed(self._kind, b"".join(lines))

    def undo(self) -> None:
        """There is nothing to it."""

    def end(self) -> bytes:
        """Nothing waits."""
        return b""


class Members:
    """A compressed stream for as many lines as make a mebibyte: a member ends with the line that makes it that large.

    So the bytes are decided by the lines alone, and not by who puts how many of them at once, nor by where one process
    has ended and another went on.

    Args:
        kind: of `compression.KINDS`.
        pending: of the member that has not ended.
    """

    def __init__(self, kind: str, pending: bytes = b"") -> None:
        self._kind = kind
        self._lines = [pending] if pending else []
        self._size = len(pending)
        self._before = (self._lines, len(self._lines), self._size)

    @property
    def pending(self) -> bytes:
        """The lines of the member that has not ended."""
        return b"".join(self._lines)

    def put(self, lines: Sequence[bytes]) -> bytes:
        """The members that end in these lines."""
        self._before = (self._lines, len(self._lines), self._size)
        ended = []
        for line in lines:
            self._lines.append(line)
            self._size += len(line)
            if self._size >= MEMBER:
                ended.append(self._member())
        return b"".join(ended)

    def undo(self) -> None:
        """As it was before."""
        self._lines, count, self._size = self._before
        del self._lines[count:]

    def end(self) -> bytes:
        """The last member, which may be smaller."""
        return self._member() if self._lines else b""

    def _member(self) -> bytes:
        lines, self._lines, self._size = self._lines, [], 0
        return squeezed(self._kind, b"".join(lines))


def squeezed(kind: str, data: bytes) -> bytes:
    """A stream of its own."""
    stream = compression.compressor(kind)
    return stream.compress(data) + stream.flush()


def as_text(pending: bytes) -> str:
    """For a state file, which is written often: quick before small."""
    return base64.b64encode(zlib.compress(pending, 1)).decode() if pending else ""


def from_text(text: str) -> bytes:
    """What `as_text` was given.

    Raises:
        ValueError: it is no such text.
    """
    try:
        return zlib.decompress(base64.b64decode(text, validate=True)) if text else b""
    except zlib.error as error:
        raise ValueError(str(error)) from error
