"""Values as columns, exactly: of which type they are, and which fit one. In the sink's thread, and in workers.

pyarrow by itself cuts 1.5 to 1 for a column of integers, and a time to its date; here nothing is lost, or it is said.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipeframe_async.errors import ConfigError
from pipeframe_async.keeping import represented

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN: Final = 80
"""Characters of a value in a message."""

MOST_NESTED: Final = 48
"""Dicts and lists inside of each other. Parquet files of a hundred levels, of which a list has two, are written and
cannot be read; pyarrow ends the process over a value that contains itself."""

PLAIN: Final = frozenset((bool, bytes, date, datetime, Decimal, float, int, str, type(None)))
"""Types of values that have nothing inside."""

REFUSED: Final = (ValueError, TypeError, OverflowError, NotImplementedError, LookupError)
"""What pyarrow raises of values that it cannot take; its own errors are of these."""


class Column(NamedTuple):
    """A field of a schema, and which values fit it that need not be tried."""

    field: pa.Field
    sure: type | None
    least: int = 0
    most: int = 0
    inside: Mapping[str, Column] | None = None  # of a struct by name; of a list the one without


def column_of(field: pa.Field) -> Column:
    """A field, and what fits it."""
    pa, _ = arrow()
    types = pa.types
    if types.is_list(field.type):
        return Column(field, list, inside={"": column_of(field.type.value_field)})
    if types.is_struct(field.type):
        return Column(field, dict, inside={inner.name: column_of(inner) for inner in field.type})
    if types.is_integer(field.type):
        bits, signed = field.type.bit_width, types.is_signed_integer(field.type)
        return Column(field, int, -(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)
    sure = {
        pa.float64(): float,
        pa.string(): str,
        pa.bool_(): bool,
        pa.binary(): bytes,
        pa.date32(): date,
        pa.timestamp("us"): datetime,
    }
    return Column(field, sure.get(field.type))


def fitting(value: Any, *, schema: pa.Schema, columns: Sequence[Column]) -> Any:
    """A result, if it fits."""
    row = row_of(value)
    if type(row) is not dict:
        return cast(row, schema)
    missing = 0
    for column in columns:
        one = row.get(column.field.name)
        if one is None:
            missing += column.field.name not in row
            if not column.field.nullable:
                raise ValueError(f"column {column.field.name!r} must have a value, and this has none")
        elif not _fits(one, column):
            flat({column.field.name: one})
            try:
                array_of([one], column.field)
            except REFUSED as error:
                raise ValueError(blame([one], column.field, error)) from error
    if len(row) + missing > len(columns):
        raise ValueError(f"its field {shown(min({*row} - {*schema.names}))} is no column")
    return row


def _fits(value: Any, column: Column) -> bool:
    """Whether a value certainly fits."""
    kind = type(value)
    if kind is not column.sure:
        return False
    if kind is int:
        return bool(column.least <= value <= column.most)
    if kind is datetime:
        return value.tzinfo is None
    if kind is list and column.inside is not None:
        item = column.inside[""]
        return all(_fits_inside(one, item) for one in value)
    if kind is dict and column.inside is not None:
        fields = column.inside
        return fields.keys() >= value.keys() and all(_fits_inside(value.get(name), fields[name]) for name in fields)
    return kind is not str or _is_text(value)


def _fits_inside(value: Any, column: Column) -> bool:
    return column.field.nullable if value is None else _fits(value, column)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def row_of(value: Any) -> Any:
    """A result that is a row, or many."""
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"the fields of a row have names, and one of this is {shown(next(iter(value)))}")
        return value if type(value) is dict else dict(value)
    loaded = sys.modules.get("pyarrow")  # who has a batch has imported it
    if loaded is not None and isinstance(value, (loaded.RecordBatch, loaded.Table)):
        return value
    raise TypeError(f"a row is made of a dict, and this is {type(value).__name__}")


def flat_row_of(value: Any) -> Any:
    """A result that is a row, or many, of which columns can be made."""
    row = row_of(value)
    if type(row) is dict:
        flat(row)
    return row


def flat(row: Mapping[str, Any]) -> None:
    """Look whether its values are flat enough.

    Raises:
        ValueError: one is not.
    """
    for name, value in row.items():
        if type(value) not in PLAIN and _is_deep(value, MOST_NESTED):
            raise ValueError(
                f"{shown(name)} has more than {MOST_NESTED} dicts and lists inside of each other, or contains itself"
            )


def _is_deep(value: Any, most: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    if not most or {*map(type, inside)} <= PLAIN:
        return not most
    return any(_is_deep(one, most - 1) for one in inside)


def schema_of(rows: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """The columns that rows have, in the order in which they appear."""
    pa, _ = arrow()
    fields = []
    for name in {name: None for row in rows for name in row}:
        values = [row.get(name) for row in rows]
        try:
            fields.append(pa.field(name, pa.array(values).type))
        except REFUSED as error:
            raise ValueError(f"the first results make no column {name!r}: {error}: pass schema=") from error
    if not fields:
        raise ValueError("the first results have no fields, and a row is of columns: pass schema=")
    return pa.schema(fields)


def array_of(values: list[Any], field: pa.Field) -> pa.Array:
    """Values as a column.

    Raises:
        Exception: one of `REFUSED`; a value does not fit.
    """
    pa, _ = arrow()
    try:
        natural = pa.array(values)
    except REFUSED:  # a map of pairs of two types, a number of 64 bits: only the column's type can tell
        natural = None
    if natural is None or natural.type != field.type:
        array = pa.array(values, field.type)
        if _has_map(field.type):
            _try_maps(values, field.type)
        if natural is not None:
            if lost := _lost(natural.type, field.type):
                raise ValueError(lost)
            _try(natural, field.type)
    else:
        array = natural
    if _lacks(array, field):
        raise ValueError("it must have a value")
    return array


def _try(found: pa.Array, wanted: pa.DataType) -> None:
    """Convert values, so that pyarrow refuses those that would lose anything; what has others inside, by those."""
    pa, _ = arrow()
    if pa.types.is_struct(found.type) and pa.types.is_struct(wanted):
        for field in found.type:
            _try(found.field(field.name), wanted.field(field.name).type)
    elif _is_list(found.type) and _is_list(wanted):
        _try(found.flatten(), wanted.value_type)
    elif not (pa.types.is_integer(found.type) and pa.types.is_decimal(wanted)):  # those are exact, or refused, already
        with suppress(pa.ArrowNotImplementedError):
            _finite(found, found.cast(wanted))


def _has_map(kind: pa.DataType) -> bool:
    inside = (kind.field(at).type for at in range(kind.num_fields))
    return bool(arrow()[0].types.is_map(kind)) or any(map(_has_map, inside))


def _try_maps(values: Iterable[Any], kind: pa.DataType) -> None:
    """Try what is in maps, of which pyarrow makes no columns by itself; they may be inside of lists and structs."""
    there = [value for value in values if value is not None]
    if arrow()[0].types.is_map(kind):
        pairs = [pair for value in there for pair in (value.items() if isinstance(value, Mapping) else value)]
        array_of([key for key, _ in pairs], kind.key_field)
        array_of([item for _, item in pairs], kind.item_field)
    elif _is_list(kind):
        _try_maps([item for value in there for item in value], kind.value_type)
    elif arrow()[0].types.is_struct(kind):
        for field in kind:
            inside = [value.get(field.name) for value in there if isinstance(value, Mapping)]
            _try_maps(inside, field.type)


def _finite(numbers: Any, kept: Any) -> None:
    """Look whether numbers have become infinite.

    Raises:
        ValueError: one has.
    """
    pa, compute = arrow()[0], import_module("pyarrow.compute")
    if pa.types.is_floating(kept.type) and kept.type != pa.float64():
        before = compute.sum(compute.is_inf(numbers)).as_py() if pa.types.is_floating(numbers.type) else 0
        if (compute.sum(compute.is_inf(kept)).as_py() or 0) > (before or 0):
            raise ValueError("it is too large")


def _lacks(array: pa.Array, field: pa.Field) -> bool:
    """Whether there is no value where there must be one."""
    if not field.nullable and array.null_count:
        return True
    types = arrow()[0].types
    if types.is_struct(field.type):
        return any(map(_lacks, array.drop_null().flatten(), field.type))
    return bool(types.is_list(field.type)) and _lacks(array.flatten(), field.type.value_field)


def _lost(found: pa.DataType, wanted: pa.DataType) -> str:
    """What a conversion of one type to another would lose that pyarrow does not mind."""
    pa, _ = arrow()
    types = pa.types
    families = _family(found), _family(wanted)
    if "" not in families and families[0] != families[1]:
        return f"it is {found}"
    if types.is_struct(wanted) and types.is_struct(found):
        fields = {field.name: field.type for field in wanted}
        for field in found:
            if field.name not in fields:
                return f"{field.name!r} is no field of it"
            if lost := _lost(field.type, fields[field.name]):
                return lost
    if _is_list(wanted) and _is_list(found):
        return _lost(found.value_type, wanted.value_type)
    if types.is_date(wanted) and types.is_timestamp(found):
        return "it would lose the time of the day"
    if types.is_timestamp(wanted) and types.is_timestamp(found) and (wanted.tz is None) != (found.tz is None):
        return "only one of them has a time zone"
    return ""


def _family(kind: pa.DataType) -> str:
    """What values of a type are; nothing where that is for pyarrow to say."""
    types = arrow()[0].types
    if types.is_dictionary(kind):
        return _family(kind.value_type)
    if types.is_boolean(kind):
        return "truth"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_temporal(kind):
        return "time"
    if types.is_struct(kind):
        return "struct"
    if any(text(kind) for text in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)):
        return "text"
    return "list" if _is_list(kind) else ""


def _is_list(kind: pa.DataType) -> bool:
    types = arrow()[0].types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def blame(values: Iterable[Any], field: pa.Field, error: Exception) -> str:
    """Which of the values does not fit."""
    for value in values:
        try:
            array_of([value], field)
        except REFUSED as found:
            return f"column {field.name!r} is {field.type}, and a result has {shown(value)}: {found}"
    return f"column {field.name!r} is {field.type}: {error}"


def cast(columns: Any, schema: pa.Schema) -> Any:
    """A `RecordBatch` or `Table` as one of this schema."""
    if columns.schema.equals(schema):
        return columns
    if wrong := {*columns.schema.names} ^ {*schema.names}:
        raise ValueError(f"the column {shown(min(wrong))} is in one of them only")
    for field in schema:
        found = columns.schema.field(field.name).type
        if lost := _lost(found, field.type):
            raise ValueError(f"column {field.name!r} is {field.type}, and in this {found}: {lost}")
    arrays = [columns.column(field.name).cast(field.type) for field in schema]
    for field, array in zip(schema, arrays, strict=True):
        _finite(columns.column(field.name), array)
    for array, field in zip(arrays, schema, strict=True):
        if any(_lacks(chunk, field) for chunk in getattr(array, "chunks", [array])):
            raise ValueError(f"column {field.name!r} must have a value")
    return type(columns).from_arrays(arrays, schema=schema)


def shown(value: Any) -> str:
    """A value for a message."""
    text = represented(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def checked(schema: Any) -> pa.Schema:
    """A schema that was given.

    Raises:
        ConfigError: it is none, or none that Parquet can have.
    """
    pa, parquet = arrow()
    try:
        found = schema if isinstance(schema, pa.Schema) else pa.schema(schema)
        if len({*found.names}) < len(found.names):
            raise ValueError("a name is there twice")
        if not found.names:
            raise ValueError("it has no columns")
        with parquet.ParquetWriter(place := pa.BufferOutputStream(), found) as trial:
            trial.write_table(found.empty_table())
        parquet.read_schema(pa.BufferReader(place.getvalue()))  # what is nested too deeply is written, and never read
    except (*REFUSED, OSError, AttributeError) as error:
        raise ConfigError(f"schema={shown(schema)}: must be a pyarrow.Schema that Parquet can have: {error}") from error
    return found


def arrow() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`.

    Raises:
        ConfigError: they are not there.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("for Parquet files: pip install 'pipeframe_async[parquet]'") from error
    return pyarrow, pyarrow.parquet
