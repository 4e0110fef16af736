"""Results of a job with a checkpoint on their way to a Parquet file: kept in a spool, so that it can be made again.

A Parquet file that was torn by a kill cannot be read, nor gone on with. So rows go two ways: to the spool, and in
pieces to row groups. What is cut where is decided by the sequence of the results alone, and not by how many of them
came at once, nor by where a position was asked for: of the spool it may, of the file it must not.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.model import Failure
from pipeframe_async.sinks.columns import arrow, schema_of
from pipeframe_async.sinks.owned import Spot, spot_of
from pipeframe_async.sinks.placed import Placed, digest
from pipeframe_async.sinks.row_groups import PIECE_ROWS, Pieces, RowGroups
from pipeframe_async.sinks.shaping import LOOKED_AT, Shaper, failures, with_columns
from pipeframe_async.sinks.spool import Segment, Spool
from pipeframe_async.sinks.values import failure_row
from pipeframe_async.weight import weight

if TYPE_CHECKING:
    import pyarrow as pa


class Spooled:
    """Rows, to columns, to a spool and to row groups."""

    def __init__(self, spool: Spool, groups: RowGroups, schema: pa.Schema | None, group_bytes: int) -> None:
        self._spool = spool
        self._groups = groups
        self._pieces = Pieces(groups)
        self._shaper = Shaper(schema)
        self._group_bytes = group_bytes
        self._rows: list[dict[str, Any]] = []
        self._row_bytes = 0
        self._kept = 0  # of those, how many are in the spool already: there is no schema yet
        self._spooled = 0  # in all
        self._last: pa.RecordBatch | None = None  # that has columns of the file
        if schema is not None:
            groups.open(schema)

    def add(self, results: Sequence[Any]) -> None:
        """Take results, in order: all, or none of them is in a position."""
        undo = self._undo()
        try:
            self._add_all(results)
        except BaseException:
            undo()
            raise

    def _undo(self) -> Callable[[], None]:
        """What has all that a position says be as it is now; the row groups are lost then."""
        schema, rows, size = self._shaper.schema, [*self._rows], self._spool.size
        counts = self._row_bytes, self._kept, self._spooled, self._last

        def undo() -> None:
            self._shaper.schema, self._rows = schema, rows
            self._row_bytes, self._kept, self._spooled, self._last = counts
            with suppress(OSError):
                self._spool.cut(size)

        return undo

    def _add_all(self, results: Sequence[Any]) -> None:
        for result in results:
            self._add(result)
        if self._shaper.schema is not None:
            self._row_bytes += weight(list(results))
            if self._row_bytes >= self._group_bytes:
                self._end_rows()

    def _add(self, result: Any) -> None:
        if isinstance(result, dict):
            self._add_row(result)
        elif isinstance(result, Failure):
            self._settle(failures())
            self._add_row(failure_row(result))
        else:
            self._end_rows()
            self._settle(with_columns(result).schema)
            for batch in self._shaper.of_columns(result):
                self._take(batch)

    def _add_row(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if self._shaper.schema is not None:
            if len(self._rows) >= PIECE_ROWS:
                self._end_rows()
            return
        self._row_bytes += weight(row)  # row by row: it decides of which rows the schema is made
        if len(self._rows) >= LOOKED_AT or self._row_bytes >= self._group_bytes:
            self._end_rows()

    def _settle(self, schema: pa.Schema) -> None:
        """What the columns are, from here on."""
        if self._shaper.schema is None:
            self._shaper.schema = schema
            self._groups.open(schema)

    def _end_rows(self) -> None:
        """What came as dicts becomes columns."""
        if self._rows:
            if self._shaper.schema is None:
                self._settle(schema_of(self._rows))
            for batch in self._as_columns(self._rows[: self._kept]):
                self._give(batch)
            for batch in self._as_columns(self._rows[self._kept :]):
                self._take(batch)
        self._rows, self._row_bytes, self._kept = [], 0, 0

    def _as_columns(self, rows: list[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
        for at in range(0, len(rows), PIECE_ROWS):
            yield self._shaper.of_rows(rows[at : at + PIECE_ROWS])

    def _take(self, batch: pa.RecordBatch) -> None:
        self._spool.append(batch, settled=True)
        self._spooled += batch.num_rows
        self._give(batch)

    def _give(self, batch: pa.RecordBatch) -> None:
        self._last = batch if batch.num_rows else self._last
        self._pieces.take(batch)

    def _keep_first(self) -> None:
        """Keep rows that are no columns of the file yet, and stay dicts until its schema is known."""
        if rows := self._rows[self._kept :]:
            if any(rows):
                self._spool.append(Shaper(schema_of(rows)).of_rows(rows), settled=False)
            else:
                self._spool.append_bare(len(rows))
        self._kept = len(self._rows)
        self._spooled += len(rows)

    def position(self) -> dict[str, Any]:
        """All that was taken, as a spot in the spool."""
        if self._shaper.schema is None:
            self._keep_first()
        else:
            self._end_rows()
        return {
            **self._spool.spot().as_json(),
            "rows": self._spooled,
            "row_bytes": self._row_bytes,
            "schema": _text_of(self._shaper.schema),
            "last": None if self._last is None else digest(self._last),
        }

    def replay(self, segments: Iterator[Segment], row_bytes: int) -> None:
        """Take again what is in the spool."""
        for segment in segments:
            self._spooled += segment.rows
            if self._shaper.schema is None:
                self._rows += segment.as_dicts()
            elif segment.settled:
                self._give(segment.batch)
            else:
                for batch in self._as_columns(segment.as_dicts()):
                    self._give(batch)
        self._kept, self._row_bytes = len(self._rows), row_bytes

    def close(self, *, whole: bool) -> None:
        """Put the file in its place; what is not whole can be gone on with."""
        try:
            if whole:
                self._end_rows()
                self._settle(arrow()[0].schema([]))
                self._pieces.end()
                self._groups.finish()
        except BaseException:
            whole = False
            raise
        finally:
            self._leave(whole=whole)

    def _leave(self, *, whole: bool) -> None:
        try:
            self._groups.close(whole=whole)
        except BaseException:
            whole = False
            raise
        finally:
            if whole:
                self._spool.remove()  # from now on the file in its place has all
            else:
                self._spool.close()


def restored(
    spool: Spool, groups: RowGroups, schema: pa.Schema | None, group_bytes: int, position: dict[str, Any] | None
) -> Spooled:
    """What goes on at a position, or begins at None.

    Args:
        spool: cut back to the position, or made again of the file in its place.
        groups: nothing was written to them.
        schema: if one is given.
        group_bytes: as of `RowGroups`.
        position: as `Spooled.position` said.

    Raises:
        CheckpointMismatch: what there is does not have it; nothing was changed.
    """
    if position is None:
        spool.cut(0)
        return Spooled(spool, groups, schema, group_bytes)
    place = spool.path.removesuffix(".rows")
    spot = {**position}
    try:
        rows, row_bytes, known = spot.pop("rows"), spot.pop("row_bytes"), _schema_of(spot.pop("schema"))
        last = spot.pop("last")
    except (KeyError, TypeError, ValueError):
        raise CheckpointMismatch(f"{position!r} is no position in {place}: it is another sink's") from None
    if schema is not None and (known is None or not known.equals(schema)):
        raise CheckpointMismatch(f"{place} was written by the job with another schema: go on with that, or begin anew")
    _go_back(spool, spot_of(spot, None, place), Placed(place, rows, known, last))
    spooled = Spooled(spool, groups, known if schema is None else schema, group_bytes)
    spooled.replay(spool.segments(), row_bytes)
    return spooled


def _go_back(spool: Spool, spot: Spot, placed: Placed) -> None:
    if spool.has(spot):
        spool.cut(spot.size)
        return
    if not placed.has_all():
        raise CheckpointMismatch(
            f"{placed.path} has {placed.there:,} rows, and {spool.path} {spool.size:,} bytes; in neither are the "
            f"{placed.rows:,} rows that the job has written: put its file back, or begin anew"
        )
    spool.cut(0)
    for batch in placed.batches():
        spool.append(batch, settled=placed.schema is not None)


def _text_of(schema: pa.Schema | None) -> str | None:
    return None if schema is None else base64.b64encode(bytes(memoryview(schema.serialize()))).decode()


def _schema_of(text: str | None) -> pa.Schema | None:
    pa, _ = arrow()
    return None if text is None else pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
