"""`Parquet`: rows of Parquet files, as dicts or as batches of columns, a bounded piece of a row group at a time.

Where columns become dicts: in the feed's thread, a small piece at a time. To send the columns and convert them in the
workers is cheaper (one copy of bytes for thousands of rows, where dicts cost a pickle each), but then a row is no
record: it could not be packed, spilled, retried or kept as a failure without all that came with it. Who wants that has
it with `batches=True` and `expand(lambda batch: batch.to_pylist())` as the first step. What pyarrow's `to_pylist` does
for a row of eight columns takes 1 to 3 µs, as much as its pickle.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds import reading
from pipeframe_async.feeds.places import Place, place_of, places, places_from
from pipeframe_async.model import Chunk

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_BYTES = 2**20
"""Bytes of columns that are read at once, before they are decompressed and as they become rows. More hold more memory,
fewer cost more calls."""
PIECE_ROWS = 1_000
"""Rows that become dicts at once, while the loop has to wait: 1 to 3 ms. Fewer cost more calls."""
BATCH_ROWS = 2**16
"""Rows of a batch at most: what is said of their bytes is of encoded ones, of which one may stand for a long text."""


class UnreadRow(NamedTuple):
    """A row with a value that Python has no type for: the record of a failure.

    Attributes:
        path: of its file.
        row: its number in that, from 0.
        reason: what pyarrow says.
    """

    path: str
    row: int
    reason: str


class Parquet:
    """The rows of Parquet files, as dicts: `feed = Parquet("in/*.parquet")`.

    Files are read one after the other, each by its own schema, while the steps work: a pipeline that does not say
    otherwise streams, without an idle timeout. No more than a mebibyte of columns is in memory, and what waits to be
    worked on, however large files and row groups are. Values are what pyarrow makes of them: `Decimal`, `datetime`,
    lists, dicts, a map as a list of pairs. A row with a value that Python has no type for (a nanosecond, the year
    10,000) is that record's failure, with an `UnreadRow` as the record. A file that is damaged or no Parquet ends the
    feed with an error that names it.

    Args:
        paths: paths and globs, as of `Lines`; not standard input, for a Parquet file is read from its end.
        columns: names of those that are wanted, in order; others are not read. Before the first record all files are
            asked whether they have them.
        batches: hand over a `pyarrow.RecordBatch` as a record, in place of a dict for each row: for steps on columns,
            and for rows that are worth less than their way to a worker.
        batch_rows: of a batch, at most; no more than are about a mebibyte in the file. Default: 65,536.

    Raises:
        ConfigError: a value is wrong, or pyarrow is missing.

    Process: files are read, and rows made, in a thread of the parent. Workers need pyarrow for batches only.
    """

    streams = True

    def __init__(
        self,
        *paths: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        batches: bool = False,
        batch_rows: int | None = None,
    ) -> None:
        _pyarrow()
        if not paths:
            raise ConfigError("Parquet() has no paths: give one, or a glob")
        self.paths = tuple(os.fspath(path) for path in paths)
        if "-" in self.paths:
            raise ConfigError("a Parquet file is read from its end, and standard input has none: give a path")
        self._columns = None if columns is None else _names(columns)
        self._batches = batches
        if batch_rows is not None and not batches:
            raise ConfigError(f"batch_rows={batch_rows!r} is of batches=True; rows come one by one")
        if batch_rows is not None and (type(batch_rows) is not int or batch_rows < 1):
            raise ConfigError(f"batch_rows={batch_rows!r}: must be a number of at least 1")
        self._most = batch_rows or (BATCH_ROWS if batches else PIECE_ROWS)
        self._from: Iterator[Place] | None = None  # what the next iteration begins with
        self._now: Place | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.paths))})"

    @property
    def decode(self) -> Callable[[Any], Any] | None:
        """Refuses a row that could not be read; the others are rows already."""
        return None if self._batches else _read

    @property
    def position(self) -> dict[str, Any] | None:
        """The file, and in `at` how many of its rows it has yielded; None before the first.

        To be asked for while it stands at a `yield`, and of one iteration at a time.
        """
        return None if self._now is None else self._now.as_json()

    def seek(self, position: dict[str, Any]) -> None:
        """Have the next iteration begin there. Row groups before that are not read; of its own, rows are dropped.

        Raises:
            CheckpointMismatch: the file is not there any more, or has fewer rows.
        """
        self._from = places_from(place_of(position), reading.Local(), self.paths, _rows_of)

    def __iter__(self) -> Iterator[Any]:
        if self._columns is not None:
            for path in reading.Local().found(self.paths):
                with _opened(path) as file:
                    self._look_for_columns(path, file)
        begins, self._from = self._from or places(reading.Local(), self.paths), None
        for place in begins:
            with _opened(place.path) as file:
                yield from self._of_file(place, file)

    def _of_file(self, place: Place, file: Any) -> Iterator[Any]:
        self._look_for_columns(place.path, file)
        for row, batch in self._behind(place.at, file):
            self._now = replace(place, at=row + batch.num_rows)
            yield batch if self._batches else Chunk(_rows(batch, place.path, row))

    def _behind(self, start: int, file: Any) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Pieces of a file from a row on, each with the number of its first; row groups before that are not read."""
        row = 0
        for group in range(file.num_row_groups):
            if row + (rows := file.metadata.row_group(group).num_rows) <= start:
                row += rows
                continue
            for batch in self._of_group(file, group):
                passed = min(max(0, start - row), batch.num_rows)
                if rest := batch.num_rows - passed:
                    yield row + passed, batch.slice(passed) if passed else batch
                row += passed + rest

    def _of_group(self, file: Any, group: int) -> Iterator[pa.RecordBatch]:
        """A row group in pieces."""
        about = file.metadata.row_group(group)  # and not its columns: asked for damaged ones, pyarrow ends the process
        most = max(1, min(self._most, PIECE_BYTES * about.num_rows // max(1, about.total_byte_size)))
        for batch in file.iter_batches(most, row_groups=[group], columns=self._columns, use_threads=False):
            yield batch if self._columns is None else batch.select(self._columns)

    def _look_for_columns(self, path: str, file: Any) -> None:
        names = file.schema_arrow.names
        wanted = self._columns or names
        if missing := [name for name in wanted if name not in names]:
            raise ValueError(f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(names)}")
        if not self._batches and (twice := [name for name in wanted if names.count(name) > 1]):
            raise ValueError(
                f"{path} has two columns of the name {twice[0]!r}: pass columns= without it, or batches=True"
            )


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """A file, closed with the block; what is wrong with it names it."""
    pa, parquet = _pyarrow()
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{path} is no regular file, and a Parquet file is read from its end")
    with pa.OSFile(path) as raw:
        try:
            yield parquet.ParquetFile(raw, buffer_size=PIECE_BYTES, page_checksum_verification=True)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise OSError(f"{path} cannot be read as Parquet: {str(error).strip()}") from error


def _rows_of(path: str) -> int:
    """How many rows a file has."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def _rows(batch: pa.RecordBatch, path: str, first: int) -> list[Any]:
    try:
        rows: list[Any] = batch.to_pylist()
        return rows
    except Exception:  # of one row, or some: which ones?
        return [_row(batch.slice(at, 1), path, first + at) for at in range(batch.num_rows)]


def _row(batch: pa.RecordBatch, path: str, row: int) -> Any:
    try:
        return batch.to_pylist()[0]
    except Exception as error:
        return UnreadRow(path, row, str(error).strip())


def _read(row: Any) -> Any:
    if type(row) is UnreadRow:
        raise ValueError(f"row {row.row:,} of {row.path} has a value that Python has no type for: {row.reason}")
    return row


def _names(columns: Sequence[str]) -> list[str]:
    names = [] if isinstance(columns, str) else list(columns)
    if not names or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise ConfigError(f"columns={columns!r}: must be names of columns, each once")
    return names


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("for Parquet files: pip install 'pipeframe_async[parquet]'") from error
    return pyarrow, pyarrow.parquet
