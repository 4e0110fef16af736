"""The rows of a Parquet file that a job has put in its place, read back by the same job as it goes on."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeframe_async.sinks.columns import arrow, cast

if TYPE_CHECKING:
    import pyarrow as pa

READ_ROWS: Final = 1_000
"""Rows read at once. Fewer cost more calls, more hold more memory."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What a job has written, as it should be at the beginning of a file.

    Attributes:
        path: of the file.
        rows: how many the job has written.
        schema: of them; None where it is not known yet.
        last: the digest of the last one, where its schema is known.
    """

    path: str
    rows: int
    schema: pa.Schema | None
    last: int | None

    @property
    def there(self) -> int:
        """How many rows the file has; 0 where it is none."""
        with suppress(Exception):  # pyarrow raises anything of what is no Parquet file
            if os.path.isfile(self.path):
                return int(arrow()[1].read_metadata(self.path).num_rows)
        return 0

    def has_all(self) -> bool:
        """Whether it has as many rows, and the last one is that."""
        if self.there < self.rows:
            return False
        if self.schema is None:
            return True
        with suppress(Exception):  # of other columns
            return self.last == digest(self._as_it_was(self._row(self.rows - 1)))
        return False

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows."""
        left = self.rows
        with arrow()[1].ParquetFile(self.path) as file:
            for batch in file.iter_batches(READ_ROWS, use_threads=False):
                if left <= 0:
                    return
                yield self._as_it_was(batch.slice(0, left))
                left -= batch.num_rows

    def _row(self, number: int) -> pa.RecordBatch:
        with arrow()[1].ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                if number < (rows := file.metadata.row_group(group).num_rows):
                    return file.read_row_group(group, use_threads=False).slice(number, 1).to_batches()[0]
                number -= rows
        raise IndexError(number)

    def _as_it_was(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Columns of the types that they had, where Parquet has others for them."""
        if self.schema is None:
            return batch
        return arrow()[0].RecordBatch.from_arrays(cast(batch, self.schema).columns, schema=self.schema)


def digest(batch: Any) -> int | None:
    """By which the last row of a batch is known again; None where Python has no type for a value in it."""
    try:
        row = batch.slice(batch.num_rows - 1).to_pylist()
    except Exception:  # pyarrow raises anything of such a value
        return None
    return zlib.crc32(repr(row).encode(errors="backslashreplace"))
