"""`Parquet`: results as rows of a Parquet file that is whole or not there. Columns are made in the sink's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeframe_async.compression import KINDS
from pipeframe_async.errors import ConfigError
from pipeframe_async.model import Failure
from pipeframe_async.sinks.columns import (
    REFUSED,
    array_of,
    arrow,
    blame,
    cast,
    checked,
    column_of,
    fitting,
    flat_row_of,
    schema_of,
    shown,
)
from pipeframe_async.sinks.values import failure_row
from pipeframe_async.sinks.writing import Writer, writer
from pipeframe_async.weight import weight

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_BYTES: Final = 64 * 2**20
"""Bytes of columns in memory that become a row group. Fewer compress and are read worse, more are held in memory."""
LOOKED_AT: Final = 10_000
"""Results that a schema is made of, where none is given. Fewer miss the columns that come late, more are held as
dicts."""
PIECE_ROWS: Final = 1_000
"""Rows that become columns at once. Fewer cost more calls, more hold up the loop, which waits for a column of them."""
WRITE_BYTES: Final = 2**20
"""Bytes that are given to the system at once."""
FSYNC: Final = ("close", "never")


class Parquet:
    """Dicts as rows of a Parquet file: `sink = Parquet("out.parquet")`. A `RecordBatch` or `Table` is many of them.

    The file is written beside its place, as `out.parquet.part`, and put there when the run has ended well; of a run
    that fails or is killed nothing is there but what was before. What `write` has returned from may be in memory until
    then. No two runs or processes write the same file.

    With a `schema`, a result that does not fit is that record's failure, found in the workers. Without one it is made
    of the first 10,000 results, or those that fill a row group (or of a first `RecordBatch` or `Table`), and a later
    one that does not fit ends the run with an error that names the column. To fit: no other fields, and no value that
    would lose anything by its column's type (1.5 as an integer, a time as a date); fields that are missing are null.
    Integers fit a column of floats.

    As a `dead_letter`: failures as rows of their attributes, as text; the record as JSON, or its repr.

    Args:
        path: of the file.
        schema: a `pyarrow.Schema`, or a mapping of names to types of pyarrow.
        row_group_bytes: of columns in memory, ≥ 1, that are written as a row group.
        compression: of columns: `"zstd"`, `"snappy"`, `"gzip"`, `"brotli"`, `"lz4"`, or None.
        fsync: `"close"`: at the end it is on the disk. `"never"`: when the system does it.

    Raises:
        ConfigError: a value is wrong, or pyarrow is missing.

    Process: the file is written in a thread of the parent; `encode` runs in the workers, which need pyarrow where a
    schema is given.
    """

    whole = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        schema: pa.Schema | Mapping[str, pa.DataType] | None = None,
        row_group_bytes: int = ROW_GROUP_BYTES,
        compression: str | None = "zstd",
        fsync: str = "close",
    ) -> None:
        arrow()
        self.path = os.fspath(path)
        if self.path == "-" or os.path.splitext(self.path)[1] in KINDS.values():
            raise ConfigError(f"path={self.path!r}: a Parquet file has a name, and compresses its columns by itself")
        self._schema = None if schema is None else checked(schema)
        if type(row_group_bytes) is not int or row_group_bytes < 1:
            raise ConfigError(f"row_group_bytes={row_group_bytes!r}: must be a number of at least 1")
        self._row_group_bytes = row_group_bytes
        self._compression = _codec(compression)
        if fsync not in FSYNC:
            raise ConfigError(
                f"fsync={fsync!r}: must be one of {', '.join(map(repr, FSYNC))}; it cannot be read before its end"
            )
        self._fsync = fsync
        self._file: _File | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def encode(self) -> Callable[[Any], Any]:
        """Refuses a result that is no row, or does not fit."""
        if self._schema is None:
            return flat_row_of
        return partial(fitting, schema=self._schema, columns=tuple(map(column_of, self._schema)))

    def __enter__(self) -> None:
        place = writer(self.path, append=False, kind=None, fsync=self._fsync)
        try:
            place.begin()
            self._file = _File(place, self._schema, self._row_group_bytes, self._compression)
        except BaseException:
            place.close(whole=False)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if self._file is not None:
            opened, self._file = self._file, None
            opened.close(whole=kind is None)

    def write(self, results: Sequence[Any]) -> None:
        """Take rows, and write row groups that are full."""
        assert self._file is not None  # it was entered
        self._file.add(results)


class _File:
    """Rows on their way to columns, and columns to row groups."""

    def __init__(self, place: Writer, schema: pa.Schema | None, group_bytes: int, compression: str) -> None:
        self._pa, self._parquet = arrow()
        self._place = place
        self._schema = schema
        self._given = schema is not None
        self._group_bytes = group_bytes
        self._compression = compression
        self._rows: list[dict[str, Any]] = []
        self._row_bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._out = _Out(place)
        self._buffered = self._pa.output_stream(self._pa.PythonFile(self._out, mode="w"), buffer_size=WRITE_BYTES)
        self._writer: Any = None
        if schema is not None:
            self._open(schema)

    def add(self, results: Sequence[Any]) -> None:
        """Take results, in order."""
        self._row_bytes += weight(list(results))
        for result in results:
            if isinstance(result, dict):
                self._rows.append(result)
            elif isinstance(result, Failure):
                self._open(_failures(self._pa))
                self._rows.append(failure_row(result))
            else:
                self._flush_rows()
                self._add_columns(result)
        most = PIECE_ROWS if self._writer is not None else LOOKED_AT
        if len(self._rows) >= most or self._row_bytes >= self._group_bytes:
            self._flush_rows()

    def close(self, *, whole: bool) -> None:
        """Put the file in its place, or see that nothing is there."""
        try:
            if whole:
                self._finish()
        except BaseException:
            whole = False
            raise
        finally:
            self._out.discards = True  # what pyarrow writes as it is closed is the file's no more
            self._let_go()
            self._place.close(whole=whole)

    def _finish(self) -> None:
        self._flush_rows()
        self._open(self._pa.schema([]))
        self._write_group()
        self._writer.close()
        self._buffered.flush()

    def _let_go(self) -> None:
        with suppress(Exception):
            if self._writer is not None and self._writer.is_open:
                self._writer.is_open = False  # else it would be closed again as it is forgotten
                self._writer.writer.close()
        with suppress(Exception):
            self._buffered.close()

    def _open(self, schema: pa.Schema) -> None:
        """What the columns are, from here on."""
        if self._writer is None:
            self._schema = schema
            self._writer = self._parquet.ParquetWriter(
                self._buffered, schema, compression=self._compression, write_page_checksum=True
            )

    def _flush_rows(self) -> None:
        rows, self._rows, self._row_bytes = self._rows, [], 0
        if rows and self._writer is None:
            first = rows[:LOOKED_AT]
            self._open(schema_of(first))
        for at in range(0, len(rows), PIECE_ROWS):
            self._take(self._of_rows(rows[at : at + PIECE_ROWS]))

    def _of_rows(self, rows: list[dict[str, Any]]) -> pa.RecordBatch:
        assert self._schema is not None
        names = {*self._schema.names}
        for row in rows:
            if not names.issuperset(row):
                raise self._misfit(f"a result has a field {shown(min({*row} - names))}, which is no column")
        arrays = []
        for field in self._schema:
            values = [row.get(field.name) for row in rows]
            try:
                arrays.append(array_of(values, field))
            except REFUSED as error:
                raise self._misfit(blame(values, field, error)) from error
        return self._pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _add_columns(self, result: Any) -> None:
        """Those of a `RecordBatch` or `Table`."""
        if not result.num_columns:
            raise ValueError(f"a {type(result).__name__} has no columns")
        self._open(result.schema)
        assert self._schema is not None
        try:
            fitting = cast(result, self._schema)
        except REFUSED as error:
            raise self._misfit(f"a {type(result).__name__} does not fit: {error}") from error
        for batch in fitting.to_batches() if hasattr(fitting, "to_batches") else [fitting]:
            self._take(batch)

    def _misfit(self, what: str) -> ValueError:
        if self._given:
            return ValueError(what)
        return ValueError(f"{what}; the columns were made of the first results, and cannot change: pass schema=")

    def _take(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= self._group_bytes:
            self._write_group()

    def _write_group(self) -> None:
        """What is there as a row group; as several, where one batch was worth that."""
        batches, self._batches = self._batches, []
        groups, self._bytes = max(1, self._bytes // self._group_bytes), 0
        if rows := sum(batch.num_rows for batch in batches):
            table = self._pa.Table.from_batches(batches, schema=self._schema)
            self._writer.write_table(table, row_group_size=-(-rows // groups))


class _Out:
    """A place for bytes, as pyarrow writes to it."""

    closed = False
    discards = False

    def __init__(self, place: Writer) -> None:
        self._place = place
        self._size = 0

    def write(self, data: Any) -> int:
        """Take all of it."""
        if not self.discards:
            self._place.write([data])
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """How much there is."""
        return self._size

    def flush(self) -> None:
        """It is with the system already."""

    def close(self) -> None:
        """Its owner does."""


def _failures(pa: Any) -> pa.Schema:
    text = ("record", "step", "kind", "error_type", "message", "attempts", "child", "traceback")
    return pa.schema([(name, pa.int64() if name == "attempts" else pa.string()) for name in text])


def _codec(compression: str | None) -> str:
    pa, _ = arrow()
    if compression is None:
        return "none"
    try:
        known = compression != "bz2" and pa.Codec.is_available(compression)
    except (ValueError, TypeError, AttributeError):
        known = False
    if not known:
        raise ConfigError(f"compression={compression!r}: must be None, 'zstd', 'snappy', 'gzip', 'brotli' or 'lz4'")
    return compression
