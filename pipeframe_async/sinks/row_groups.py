"""Columns to the row groups of a Parquet file.

Comes in: batches of one schema. Goes out: bytes, as pyarrow makes them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pipeframe_async.sinks.columns import arrow
from pipeframe_async.sinks.writing import Writer

if TYPE_CHECKING:
    import pyarrow as pa

WRITE_BYTES: Final = 2**20
"""Bytes that are given to the system at once."""
PIECE_ROWS: Final = 1_000
"""Rows that become columns at once. Fewer cost more calls, more hold up the loop, which waits for a column of them."""


class RowGroups:
    """A Parquet file that is being written.

    Args:
        place: where its bytes go.
        group_bytes: of columns, that are written as a row group.
        compression: of columns, as pyarrow calls it.
    """

    def __init__(self, place: Writer, group_bytes: int, compression: str) -> None:
        self._pa, self._parquet = arrow()
        self._place = place
        self._group_bytes = group_bytes
        self._compression = compression
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._out = _Out(place)
        self._buffered = self._pa.output_stream(self._pa.PythonFile(self._out, mode="w"), buffer_size=WRITE_BYTES)
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def open(self, schema: pa.Schema) -> None:
        """What the columns are, from here on; more than once it is nothing."""
        if self._writer is not None:
            return
        self._schema = schema
        self._writer = self._parquet.ParquetWriter(
            self._buffered, schema, compression=self._compression, write_page_checksum=True
        )

    def take(self, batch: pa.RecordBatch, size: int) -> None:
        """Rows, which are so many bytes; a row group is written where it is full with them."""
        self._batches.append(batch)
        self._bytes += size
        if self._bytes >= self._group_bytes:
            self._write_group()

    def _write_group(self) -> None:
        """What is there as a row group; as several, where one batch was worth that."""
        batches, self._batches = self._batches, []
        groups, self._bytes = max(1, self._bytes // self._group_bytes), 0
        if rows := sum(batch.num_rows for batch in batches):
            table = self._pa.Table.from_batches(batches, schema=self._schema)
            self._writer.write_table(table, row_group_size=-(-rows // groups))

    def finish(self) -> None:
        """All of it is with the place."""
        self._write_group()
        self._writer.close()
        self._buffered.flush()

    def close(self, *, whole: bool) -> None:
        """Put the file in its place, or see that nothing is there."""
        self._out.discards = True  # what pyarrow writes as it is closed is the file's no more
        self._let_go()
        self._place.close(whole=whole)

    def _let_go(self) -> None:
        with suppress(Exception):
            if self._writer is not None and self._writer.is_open:
                self._writer.is_open = False  # else it would be closed again as it is forgotten
                self._writer.writer.close()
        with suppress(Exception):
            self._buffered.close()


class Pieces:
    """Rows in pieces of a thousand on their way to row groups: these are cut by the rows, and not by their batches."""

    def __init__(self, groups: RowGroups) -> None:
        self._pa, _ = arrow()
        self._groups = groups
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def take(self, batch: pa.RecordBatch) -> None:
        """Rows, in order."""
        self._held.append(batch)
        self._rows += batch.num_rows
        if self._rows >= PIECE_ROWS:
            self._cut(self._rows - self._rows % PIECE_ROWS)

    def end(self) -> None:
        """The last piece, which may be smaller."""
        if self._rows:
            self._cut(self._rows)

    def _cut(self, rows: int) -> None:
        table = self._pa.Table.from_batches(self._held)
        for at in range(0, rows, PIECE_ROWS):
            for batch in self._alike(table.slice(at, min(PIECE_ROWS, rows - at))).to_batches():
                self._groups.take(batch, self._pa.ipc.get_record_batch_size(batch))
        self._held = table.slice(rows).to_batches()
        self._rows -= rows

    def _alike(self, piece: pa.Table) -> pa.Table:
        """The same rows in the same arrays, whatever batches they came in."""
        arrays = map(self._dictionary_alike, piece.combine_chunks().columns, piece.schema.types)
        return self._pa.Table.from_arrays([*arrays], schema=piece.schema)

    def _dictionary_alike(self, column: Any, kind: pa.DataType) -> Any:
        if not self._pa.types.is_dictionary(kind):
            return column
        encoded = column.cast(kind.value_type).combine_chunks().dictionary_encode()
        return self._pa.DictionaryArray.from_arrays(
            encoded.indices.cast(kind.index_type), encoded.dictionary, ordered=kind.ordered
        )


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
