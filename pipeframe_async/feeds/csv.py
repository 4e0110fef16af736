"""`Csv`: rows of files, as dicts. They are cut in the feed's thread where a row ends, and parsed in the workers."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

from pipeframe_async.feeds.lines import MAX_EXPANSION, MAX_LINE, Lines
from pipeframe_async.feeds.places import Place
from pipeframe_async.feeds.splitting import SHOWN, Splitter, TooLong
from pipeframe_async.model import Chunk
from pipeframe_async.text_files import Quoting, character


class CsvRow(NamedTuple):
    """A row as it was read, and the names of its fields: the record of a failure.

    Attributes:
        names: of the fields, in their order.
        raw: the bytes of the row, or a `TooLong`.
    """

    names: tuple[str, ...]
    raw: bytes | TooLong


class Csv(Lines):
    """Rows of CSV files, as dicts by the names in the first row of each: `feed = Csv("orders.csv.gz")`.

    As `Lines`. A field that begins with a quote may have newlines, up to the next quote; elsewhere a quote is a
    character as any other. A row with more or fewer fields than names, and one that cannot be decoded, is that record's
    failure, with a `CsvRow` as the record. Empty rows are passed over.

    Args:
        paths, encoding, compression, max_line, max_expansion: as `Lines`; a row is a line.
        names: of the fields, where the files have no row of them.
        delimiter: one character.
        quote: the character that fields are put in which have others of these in them; doubled it stands for itself.

    Raises:
        ConfigError: as `Lines`.

    Process: as `Lines`; rows are made in the workers.
    """

    def __init__(
        self,
        *paths: str | os.PathLike[str],
        names: Sequence[str] | None = None,
        delimiter: str = ",",
        quote: str = '"',
        encoding: str = "utf-8",
        compression: str | None = "infer",
        max_line: int = MAX_LINE,
        max_expansion: float | None = MAX_EXPANSION,
    ) -> None:
        super().__init__(
            *paths, encoding=encoding, compression=compression, max_line=max_line, max_expansion=max_expansion
        )
        self._quoting = Quoting(
            character("quote", quote, self._encoding), character("delimiter", delimiter, self._encoding)
        )
        self._names = None if names is None else tuple(names)
        self._format: dict[str, Any] = {"delimiter": delimiter, "quotechar": quote, "strict": True}

    @property
    def decode(self) -> Callable[[Any], Any]:
        """A row to a dict of its fields."""
        return partial(_row, encoding=self._encoding, format=self._format, limit=self._max_line)

    def _of_file(self, place: Place) -> Iterator[Chunk[Any]]:
        names = self._first_row(place.path) if self._names is None and place.at else self._names
        rows = _Rows(place, self._max_line, self._quoting)
        blocks = self._blocks(place)
        if names is None:
            self._stand(place, _Before(), ())
        else:
            self._stand(place, rows, blocks)
        for lines in _and_end(blocks, rows):
            if names is None and lines:
                names = self._header(place.path, lines.pop(0))
                self._stand(place, rows, blocks)
            yield Chunk(CsvRow(names or (), line) for line in lines)

    def _first_row(self, path: str) -> tuple[str, ...]:
        """The names in a file that is gone on with behind them."""
        begin = Place(path)
        with closing(_and_end(self._blocks(begin), _Rows(begin, self._max_line, self._quoting))) as found:
            return next((self._header(path, rows[0]) for rows in found if rows), ())

    def _header(self, path: str, raw: bytes | TooLong) -> tuple[str, ...]:
        if isinstance(raw, TooLong):
            raise raw.refused()
        try:
            names = tuple(next(csv.reader([str(raw, self._encoding)], **self._format), ()))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"the first row of {path} cannot be read: {error}") from error
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{path} has two fields of the name {min(twice)!r}: pass names=")
        return names


def _and_end(blocks: Iterable[bytes], rows: _Rows) -> Generator[list[bytes | TooLong]]:
    for block in blocks:
        yield rows.split(block)
    yield rows.end()


class _Before:
    """The progress in a file whose names have not come: it is at its beginning."""

    at, lines, ended, inside = 0, 0, False, False


class _Rows:
    """Lines joined to rows, where a field in quotes has newlines."""

    def __init__(self, place: Place, most: int, quoting: Quoting) -> None:
        self._path = place.path
        self._most = most
        self._quoting = quoting
        self._splitter = Splitter(place.path, most, quoting, place.lines)
        self._open: list[bytes] = []  # the lines of a row that has not ended
        self._held = 0
        self._passing = place.inside  # the row that has not ended is too long, and was told of
        self._number = place.lines

    @property
    def at(self) -> int:
        """Behind how many of the bytes that it was given the last row has ended, or a line of one that is too long."""
        return self._splitter.at - self._held

    @property
    def lines(self) -> int:
        """How many have ended there."""
        return self._number - len(self._open)

    @property
    def ended(self) -> bool:
        """All of what there is has been cut."""
        return self._splitter.ended

    @property
    def inside(self) -> bool:
        """It is in a row that is too long, and was told of."""
        return self._passing

    def split(self, block: bytes) -> list[bytes | TooLong]:
        """The rows that end in a block; empty ones are none."""
        return self._rows(self._splitter.split(block))

    def end(self) -> list[bytes | TooLong]:
        """The last row; in quotes that nobody has closed it is one all the same."""
        rows = self._rows(self._splitter.end())
        return [*rows, self._joined()] if self._open else rows

    def _rows(self, lines: list[bytes | TooLong]) -> list[bytes | TooLong]:
        return [row for line in lines if (row := self._row(line)) not in (None, b"", b"\r")]

    def _row(self, line: bytes | TooLong) -> bytes | TooLong | None:
        """The row that a line ends, if it does."""
        self._number += 1
        ends = not self._is_open(line)
        if isinstance(line, TooLong):
            told, self._passing = self._passing, not ends
            self._open, self._held = [], 0
            return None if told else line
        if self._passing:
            self._passing = not ends
            return None
        if ends and not self._open:
            return line
        self._held += len(line) + 1
        self._open.append(line)
        if self._held > self._most:
            self._passing = not ends
            return TooLong(self._path, self._number, self._most, self._joined()[:SHOWN])
        return self._joined() if ends else None

    def _is_open(self, line: bytes | TooLong) -> bool:
        """Whether the row is in quotes at the line's end."""
        inside = bool(self._open) or self._passing
        if isinstance(line, TooLong):
            return line.opens[inside]
        return self._quoting.is_open(self._quoting.quote + line if inside else line)

    def _joined(self) -> bytes:
        lines, self._open, self._held = self._open, [], 0
        return b"\n".join(lines)


def _row(raw: CsvRow, *, encoding: str, format: dict[str, Any], limit: int) -> dict[str, str]:
    if isinstance(raw.raw, TooLong):
        raise raw.raw.refused()
    csv.field_size_limit(max(limit, 131_072))
    rows = list(csv.reader([str(raw.raw, encoding)], **format))
    fields = rows[0] if rows else []
    if len(fields) != len(raw.names):
        raise ValueError(f"{len(fields)} fields, and {len(raw.names)} names")
    return dict(zip(raw.names, fields, strict=True))
