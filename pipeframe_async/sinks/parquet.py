"""`Parquet`: results as rows of a Parquet file that is whole or not there. Columns are made in the sink's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeframe_async.compression import KINDS
from pipeframe_async.errors import ConfigError
from pipeframe_async.model import Failure
from pipeframe_async.sinks.columns import arrow, checked, column_of, fitting, flat_row_of, schema_of
from pipeframe_async.sinks.row_groups import PIECE_ROWS, RowGroups
from pipeframe_async.sinks.shaping import LOOKED_AT, Shaper, failures, with_columns
from pipeframe_async.sinks.spool import Spool
from pipeframe_async.sinks.spooled import Spooled, restored
from pipeframe_async.sinks.values import failure_row
from pipeframe_async.sinks.writing import writer
from pipeframe_async.weight import weight

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_BYTES: Final = 64 * 2**20
"""Bytes of columns in memory that become a row group. Fewer compress and are read worse, more are held in memory."""
FSYNC: Final = ("close", "never")


class Parquet:
    """Dicts as rows of a Parquet file: `sink = Parquet("out.parquet")`. A `RecordBatch` or `Table` is many of them.

    The file is written beside its place, as `out.parquet.part`, and put there when the run has ended well; of a run
    that fails or is killed nothing is there but what was before. What `write` has returned from may be in memory until
    then. No two runs or processes write the same file.

    In a job with a checkpoint results are kept in `out.parquet.rows` until the file is in its place, and row groups are
    cut at a multiple of 1,000 rows: the file is, byte for byte, that of a job that was never killed. Going on costs the
    time to write what there is again. Without a schema, values that are of no type of Python's own (those of numpy,
    nanoseconds) may make other columns when the job is killed within the first 10,000 results.

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
        self._file: _File | Spooled | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def writes(self) -> tuple[str, ...]:
        """Files that become larger while it is used."""
        real = os.path.realpath(self.path)
        return (f"{real}.part", f"{real}.rows")

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
            groups = RowGroups(place, self._row_group_bytes, self._compression)
            self._file = _File(groups, self._schema, self._row_group_bytes)
        except BaseException:
            place.close(whole=False)
            raise

    def position(self) -> dict[str, Any] | None:
        """Where what is kept of the results ends; it survives the machine, unless `fsync="never"`.

        None where nobody has called `restore`. Results that are no columns yet become some.
        """
        return self._file.position() if isinstance(self._file, Spooled) else None

    def restore(self, position: dict[str, Any] | None) -> None:
        """Go on at a position, or begin a file that can be gone on with.

        From now on results are kept beside the file too, as `out.parquet.rows`; row groups are made of these again.
        Where that is not there because the file was put in its place, they are read from there.

        Raises:
            CheckpointMismatch: neither has what the job has written, or the schema is another one.
        """
        assert isinstance(self._file, _File)  # it was entered, and nothing was written
        spool = Spool(f"{os.path.realpath(self.path)}.rows", self.path, self._fsync)
        try:
            self._file = restored(spool, self._file.groups, self._schema, self._row_group_bytes, position)
        except BaseException:
            spool.give_up()
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
    """Rows on their way to columns, a piece at a time."""

    def __init__(self, groups: RowGroups, schema: pa.Schema | None, group_bytes: int) -> None:
        self.groups = groups
        self._shaper = Shaper(schema)
        self._group_bytes = group_bytes
        self._rows: list[dict[str, Any]] = []
        self._row_bytes = 0
        if schema is not None:
            groups.open(schema)

    def add(self, results: Sequence[Any]) -> None:
        """Take results, in order."""
        self._row_bytes += weight(list(results))
        for result in results:
            if isinstance(result, dict):
                self._rows.append(result)
            elif isinstance(result, Failure):
                self._open(failures())
                self._rows.append(failure_row(result))
            else:
                self._flush_rows()
                self._open(with_columns(result).schema)
                self._take(self._shaper.of_columns(result))
        most = PIECE_ROWS if self._shaper.schema is not None else LOOKED_AT
        if len(self._rows) >= most or self._row_bytes >= self._group_bytes:
            self._flush_rows()

    def close(self, *, whole: bool) -> None:
        """Put the file in its place, or see that nothing is there."""
        try:
            if whole:
                self._flush_rows()
                self._open(arrow()[0].schema([]))
                self.groups.finish()
        except BaseException:
            whole = False
            raise
        finally:
            self.groups.close(whole=whole)

    def _open(self, schema: pa.Schema) -> None:
        if self._shaper.schema is None:
            self._shaper.schema = schema
            self.groups.open(schema)

    def _flush_rows(self) -> None:
        rows, self._rows, self._row_bytes = self._rows, [], 0
        if rows and self._shaper.schema is None:
            self._open(schema_of(rows[:LOOKED_AT]))
        for at in range(0, len(rows), PIECE_ROWS):
            self._take([self._shaper.of_rows(rows[at : at + PIECE_ROWS])])

    def _take(self, batches: Sequence[pa.RecordBatch]) -> None:
        for batch in batches:
            self.groups.take(batch, batch.nbytes)


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
