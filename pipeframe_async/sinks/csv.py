"""`Csv`: results as rows of a file. They are encoded in the workers."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pipeframe_async.errors import CheckpointMismatch, ConfigError
from pipeframe_async.model import Failure
from pipeframe_async.sinks.lines import Lines
from pipeframe_async.sinks.values import failure_row
from pipeframe_async.text_files import Quoting, character

QUOTE = b'"'


class Csv(Lines):
    """Dicts as rows: `sink = Csv("out.csv", names=["id", "price"])`.

    As `Lines`. The first row has the names, where a file is new or empty; one that is appended to must have the same. A
    result without one of them, or with another, is that record's failure; where `names` are not given, they are those
    of the file or of the first result, and a result that has others ends the run. As a `dead_letter`, failures are rows
    of `record`, `step`, `kind`, `error_type`, `message`, `attempts`, `child` and `traceback`.

    Args:
        path, append, encoding, compression, fsync: as `Lines`.
        names: of the fields, in order; needed with `append` where there is no header.
        header: whether the first row has the names.
        delimiter: one character.

    Raises:
        ConfigError: as `Lines`.

    Process: as `Lines`; rows are made in the workers.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        names: Sequence[str] | None = None,
        header: bool = True,
        delimiter: str = ",",
        append: bool = False,
        encoding: str = "utf-8",
        compression: str | None = "infer",
        fsync: str = "close",
    ) -> None:
        super().__init__(path, append=append, encoding=encoding, compression=compression, fsync=fsync)
        if isinstance(names, str) or (names is not None and not names) or (names is None and append and not header):
            raise ConfigError(f"names={names!r}: must be the names of the fields")
        self._quoting = Quoting(QUOTE, character("delimiter", delimiter, self._encoding))
        self._names = None if names is None else tuple(names)
        self._found: tuple[str, ...] | None = None
        self._header = header
        self._delimiter = delimiter

    @property
    def encode(self) -> Callable[[Any], Any]:
        """A dict to a row; with its names, where they are not known."""
        return partial(_row, names=self._names, delimiter=self._delimiter, encoding=self._encoding)

    def __enter__(self) -> None:
        self._found = self._names
        super().__enter__()

    def _begin(self) -> None:
        super()._begin()
        self._found = self._header_of_file() or self._found
        if self._names is not None and self._found != self._names:
            raise ValueError(f"{self.path} has the fields {self._found}, and names= says {self._names}")
        if self._names is not None:
            self._name(self._names)

    def _header_of_file(self) -> tuple[str, ...] | None:
        """The names in the first row of what is appended to."""
        assert self._writer is not None  # it was entered
        if not self._header or not (head := self._writer.head):
            return None
        text = str(head.removeprefix(self._mark), self._encoding, "replace")
        return tuple(next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter), ()))

    def write(self, lines: Sequence[Any]) -> None:
        """Write rows."""
        if not self._begun:
            self._begin()
        if self._names is None:
            lines = [self.encode(line) if isinstance(line, Failure) else line for line in lines]
            if self._found is None and lines:
                self._name(lines[0].names)
            for line in lines:
                if line.names != self._found:
                    raise ValueError(
                        f"a result has the fields {line.names}, and the first one {self._found}: pass names="
                    )
            lines = [line.row for line in lines]
        super().write(lines)

    def _name(self, names: tuple[str, ...]) -> None:
        assert self._writer is not None
        self._found = names
        if self._header and self._writer.empty:
            self._put([_fields(names, self._delimiter, self._encoding)])

    def position(self) -> dict[str, Any] | None:
        """As of `Lines`, with the names of the fields."""
        if (position := super().position()) is None:
            return None
        return {**position, "names": None if self._found is None else [*self._found]}

    def restore(self, position: dict[str, Any] | None) -> None:
        """As of `Lines`; other names of fields are refused too."""
        if position is None:
            super().restore(None)
            return
        rest = {**position}
        was = tuple(rest.pop("names", None) or ()) or None
        if self._names is not None and was != self._names:
            raise CheckpointMismatch(f"{self.path} was written by the job with names={was}, and not {self._names}")
        super().restore(rest)
        self._found = was


class _Named(NamedTuple):
    """A row with the names of its fields."""

    names: tuple[str, ...]
    row: bytes


def _row(value: Any, *, names: tuple[str, ...] | None, delimiter: str, encoding: str) -> bytes | _Named:
    if isinstance(value, Failure):
        value = failure_row(value)
    if not isinstance(value, Mapping):
        raise TypeError(f"a row is made of a dict, and this is {type(value).__name__}")
    if names is None:
        return _Named(tuple(value), _fields([*value.values()], delimiter, encoding))
    if wrong := value.keys() ^ set(names):
        raise ValueError(f"its fields are not those of names=: {', '.join(map(repr, sorted(map(str, wrong))))}")
    return _fields([value[name] for name in names], delimiter, encoding)


def _fields(fields: Sequence[Any], delimiter: str, encoding: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerow(fields)  # both of which are quoted then
    return text.getvalue().removesuffix("\r\n").encode(encoding) + b"\n"
