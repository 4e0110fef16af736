"""Results to batches of one schema: dicts, and batches and tables that others have made. Nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeframe_async.sinks.columns import REFUSED, array_of, arrow, blame, cast, shown

if TYPE_CHECKING:
    import pyarrow as pa
LOOKED_AT: Final = 10_000
"""Results that a schema is made of, where none is given. Fewer miss the columns that come late, more are held as
dicts."""


class Shaper:
    """What results become, once the schema is known; `given`: by who made the sink."""

    def __init__(self, schema: pa.Schema | None) -> None:
        self.schema = schema
        self._given = schema is not None

    def of_rows(self, rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
        """Dicts as columns.

        Raises:
            ValueError: one does not fit; the message names the column.
        """
        assert self.schema is not None
        names = {*self.schema.names}
        for row in rows:
            if not names.issuperset(row):
                raise self._misfit(f"a result has a field {shown(min({*row} - names))}, which is no column")
        arrays = []
        for field in self.schema:
            values = [row.get(field.name) for row in rows]
            try:
                arrays.append(array_of(values, field))
            except REFUSED as error:
                raise self._misfit(blame(values, field, error)) from error
        return arrow()[0].RecordBatch.from_arrays(arrays, schema=self.schema)

    def of_columns(self, result: Any) -> list[pa.RecordBatch]:
        """Those of a `RecordBatch` or `Table`.

        Raises:
            ValueError: they do not fit.
        """
        assert self.schema is not None
        try:
            fitting = cast(result, self.schema)
        except REFUSED as error:
            raise self._misfit(f"a {type(result).__name__} does not fit: {error}") from error
        return fitting.to_batches() if hasattr(fitting, "to_batches") else [fitting]

    def _misfit(self, what: str) -> ValueError:
        if self._given:
            return ValueError(what)
        return ValueError(f"{what}; the columns were made of the first results, and cannot change: pass schema=")


def with_columns(result: Any) -> Any:
    """A `RecordBatch` or `Table`, if it has columns.

    Raises:
        ValueError: it has none.
    """
    if not result.num_columns:
        raise ValueError(f"a {type(result).__name__} has no columns")
    return result


def failures() -> pa.Schema:
    """The columns of failures."""
    pa, _ = arrow()
    text = ("record", "step", "kind", "error_type", "message", "attempts", "child", "traceback")
    return pa.schema([(name, pa.int64() if name == "attempts" else pa.string()) for name in text])
