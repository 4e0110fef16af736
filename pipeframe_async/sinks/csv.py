"""`Csv`: results as rows of a file. They are encoded in the workers."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.sinks.lines import Lines


class Csv(Lines):
    """Dicts as rows: `sink = Csv("out.csv", names=["id", "price"])`.

    As `Lines`. The first row has the names, where a file is new or empty. A result without one of them, or with
    another, is that record's failure.

    Args:
        path, append, encoding, compression, fsync: as `Lines`.
        names: of the fields, in order.
        header: whether the first row has the names.
        delimiter: one character.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        names: Sequence[str],
        header: bool = True,
        delimiter: str = ",",
        append: bool = False,
        encoding: str = "utf-8",
        compression: str | None = "infer",
        fsync: str = "close",
    ) -> None:
        super().__init__(path, append=append, encoding=encoding, compression=compression, fsync=fsync)
        if isinstance(names, str) or not names:
            raise ConfigError(f"names={names!r}: must be the names of the fields")
        self._names = tuple(names)
        self._header = header
        self._delimiter = delimiter

    _quote = b'"'

    @property
    def encode(self) -> Callable[[Any], bytes]:
        """A dict to a row."""
        return partial(_row, names=self._names, delimiter=self._delimiter, encoding=self._encoding)

    def __enter__(self) -> None:
        super().__enter__()
        assert self._writer is not None
        if self._header and self._writer.empty:
            self._writer.write(_fields(self._names, self._delimiter, self._encoding))


def _row(value: Any, *, names: tuple[str, ...], delimiter: str, encoding: str) -> bytes:
    if not isinstance(value, Mapping):
        raise TypeError(f"a row is made of a dict, and this is {type(value).__name__}")
    if wrong := value.keys() ^ set(names):
        raise ValueError(f"its fields are not those of names=: {', '.join(map(repr, sorted(map(str, wrong))))}")
    return _fields([value[name] for name in names], delimiter, encoding)


def _fields(fields: Sequence[Any], delimiter: str, encoding: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(fields)
    return text.getvalue().encode(encoding)
