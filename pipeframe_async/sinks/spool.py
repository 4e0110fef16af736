"""Rows that are kept in a file until they are in another: appended, cut back to a spot, and read from the beginning."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipeframe_async.sinks.columns import arrow
from pipeframe_async.sinks.owned import Owned, Spot, sync_directory

if TYPE_CHECKING:
    import pyarrow as pa

HEAD: Final = struct.Struct("<QQ?")
"""Before each segment: its bytes, its rows, and whether its columns are those of the file."""
SEGMENT_ROWS: Final = 2**16
"""Rows of a segment at most, which is held in memory as bytes. Fewer cost more, for each has its schema."""


class Segment(NamedTuple):
    """Some rows.

    Attributes:
        rows: how many.
        settled: their columns are those of the file; else they are only these rows'.
        batch: None where the rows have no columns at all.
    """

    rows: int
    settled: bool
    batch: pa.RecordBatch | None

    def as_dicts(self) -> list[dict[str, Any]]:
        """The rows as they were given."""
        return [{} for _ in range(self.rows)] if self.batch is None else self.batch.to_pylist()


class Spool:
    """A file of segments, each an Arrow stream of its own, so that the next process may go on behind any.

    Args:
        path: of it.
        name: of the file that it is for, in messages.
        fsync: `"never"`, or a spot survives the machine.
    """

    def __init__(self, path: str, name: str, fsync: str) -> None:
        self._pa, _ = arrow()
        self.path = path
        self._file = Owned(path, name, fsync)
        sync_directory(path, fsync)  # of a file without a name nothing survives the machine
        kind = "lz4" if self._pa.Codec.is_available("lz4") else None
        self._options = self._pa.ipc.IpcWriteOptions(compression=kind)

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self._file.size

    def append(self, batch: pa.RecordBatch, *, settled: bool) -> None:
        """Keep rows."""
        for at in range(0, batch.num_rows, SEGMENT_ROWS):
            part = batch.slice(at, SEGMENT_ROWS)
            data = self._bytes_of(part)
            self._file.append(HEAD.pack(len(data), part.num_rows, settled) + data)

    def append_bare(self, rows: int) -> None:
        """Keep rows that have no columns."""
        self._file.append(HEAD.pack(0, rows, False))

    def _bytes_of(self, batch: pa.RecordBatch) -> bytes:
        out = self._pa.BufferOutputStream()
        with self._pa.ipc.new_stream(out, batch.schema, options=self._options) as stream:
            stream.write_batch(batch)
        return bytes(memoryview(out.getvalue()))

    def segments(self) -> Iterator[Segment]:
        """All that is kept."""
        at = 0
        while head := self._file.part(at, HEAD.size):
            size, rows, settled = HEAD.unpack(head)
            data = self._file.part(at + HEAD.size, size)
            yield Segment(rows, settled, self._batch_of(data) if data else None)
            at += HEAD.size + size

    def _batch_of(self, data: bytes) -> pa.RecordBatch:
        with self._pa.ipc.open_stream(data) as stream:
            return stream.read_next_batch()

    def has(self, spot: Spot) -> bool:
        """Whether it has what was before a spot."""
        return self._file.has(spot)

    def cut(self, size: int) -> None:
        """Keep so many bytes."""
        self._file.cut(size)

    def spot(self) -> Spot:
        """Its end, with which it can be gone on with."""
        return self._file.spot(kind=None, pending="")

    def remove(self) -> None:
        """It is needed no more."""
        self._file.remove()

    def close(self) -> None:
        """It stays for the next process."""
        self._file.close()

    def give_up(self) -> None:
        """Leave what was there: one that is empty was not."""
        if self.size:
            self.close()
        else:
            self.remove()
