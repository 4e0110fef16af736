"""Blocks of bytes into lines, as pure values: no file is opened here. A line that is too long costs no memory."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeframe_async.text_files import Quoting

SHOWN = 256
"""Bytes of a line that is too long, which are kept to find it by."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """Stands for a line that is longer than may be; decoding it fails, so it is that record's failure.

    Attributes:
        path: of its file.
        line: its number there, from 1.
        limit: bytes a line may have.
        start: its first bytes.
        opens: whether it ends in quotes, where it begins in none, and where it begins in some.
    """

    path: str
    line: int
    limit: int
    start: bytes = field(repr=False)
    opens: tuple[bool, bool] = field(default=(False, True), repr=False)

    def refused(self) -> ValueError:
        """What decoding it raises."""
        return ValueError(f"line {self.line:,} of {self.path} is longer than max_line={self.limit:,} bytes")


class Splitter:
    """Cuts what comes block by block at its newlines.

    Args:
        path: for what is too long.
        most: bytes a line may have, its newline not counted.
        quoting: what is looked for in a line that is too long.
        lines: how many come before what it is given.

    Attributes:
        lines: how many have ended.
        ended: all of what there is has been cut.
    """

    inside = False  # of a line that is too long nothing is told before its end

    def __init__(self, path: str, most: int, quoting: Quoting | None = None, lines: int = 0) -> None:
        self._path = path
        self._most = most
        self._quoting = quoting
        self._rests: tuple[bytes, bytes] = (b"", b"")  # of one that is too long already: what stands for it
        self._parts: list[bytes] = []  # of a line that has no end yet
        self._held = 0
        self._start: bytes | None = None  # of one that is too long already
        self._given = 0
        self.lines = lines
        self.ended = False

    @property
    def at(self) -> int:
        """Behind how many of the bytes that it was given the last line has ended."""
        return self._given - self._held

    def split(self, block: bytes) -> list[bytes | TooLong]:
        """The lines that end in a block, without their newlines."""
        self._given += len(block)
        first, *more = block.split(b"\n")
        if not more:
            self._hold(first)
            return []
        lines = [self._whole(first), *more]
        self._hold(lines.pop())  # type: ignore[arg-type]
        if len(block) > self._most:
            lines = [self._checked(line, number) for number, line in enumerate(lines, self.lines + 1)]
        self.lines += len(lines)
        return lines

    def end(self) -> list[bytes | TooLong]:
        """The last line, where it has no newline."""
        self.ended = True
        if not self._held and self._start is None:
            return []
        line = self._whole(b"")
        self.lines += 1
        return [line]

    def _hold(self, part: bytes) -> None:
        """More of a line that has not ended."""
        self._held += len(part)
        if self._start is not None:
            self._rests = self._behind(self._rests, part)
            return
        self._parts.append(part)
        if self._held > self._most:
            text = b"".join(self._parts)
            self._start, self._rests = text[:SHOWN], self._behind(self._begins, text)
            self._parts.clear()

    def _whole(self, last: bytes) -> bytes | TooLong:
        """The line that ends here."""
        self._hold(last)
        parts, start = self._parts, self._start
        self._parts, self._start, self._held = [], None, 0
        return b"".join(parts) if start is None else self._too_long(self.lines + 1, start, self._rests)

    def _checked(self, line: bytes | TooLong, number: int) -> bytes | TooLong:
        if isinstance(line, TooLong) or len(line) <= self._most:
            return line
        return self._too_long(number, line[:SHOWN], self._behind(self._begins, line))

    def _too_long(self, number: int, start: bytes, rests: tuple[bytes, bytes]) -> TooLong:
        quoting = self._quoting
        opens = (False, True) if quoting is None else (quoting.is_open(rests[0]), quoting.is_open(rests[1]))
        return TooLong(self._path, number, self._most, start, opens)

    @property
    def _begins(self) -> tuple[bytes, bytes]:
        """What stands for nothing yet, in no quotes and in some."""
        return (b"", b"" if self._quoting is None else self._quoting.quote)

    def _behind(self, rests: tuple[bytes, bytes], part: bytes) -> tuple[bytes, bytes]:
        """What stands for that and more."""
        quoting = self._quoting
        return rests if quoting is None else (quoting.rest(rests[0] + part), quoting.rest(rests[1] + part))


class Unmarked:
    """What comes, without the byte order mark of UTF-8 that it may begin with.

    Attributes:
        passed: bytes of the mark, once it has been passed over.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self.passed = 0

    def __iter__(self) -> Iterator[bytes]:
        begin = b""
        for block in self._blocks:
            begin += block
            if len(begin) >= len(BOM_UTF8) or not BOM_UTF8.startswith(begin):
                break
            yield b""
        text = begin.removeprefix(BOM_UTF8)
        self.passed = len(begin) - len(text)
        yield text
        yield from self._blocks
