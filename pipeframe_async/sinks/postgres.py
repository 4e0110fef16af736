"""`PostgresCopy`: results as rows of a table, by COPY."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.model import Failure
from pipeframe_async.servers.postgres import checked, connected, qualified, quoted, reach
from pipeframe_async.servers.reach import positive
from pipeframe_async.sinks.values import failure_row
from pipeframe_async.urls import shown

UNBEARABLE = re.compile(r"(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\[^u])|\\u(?:0000|d[89a-f][0-9a-f]{2})")
"""Escapes in JSON: in the group those that PostgreSQL has too, outside of it NUL and halves of surrogate pairs."""
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class PostgresCopy:
    """Results as rows of a table: `sink = PostgresCopy(url, "prices", ["order_id", "price"], key="order_id")`.

    A list of results is one COPY in one transaction: all of it is there when `write` has returned, or nothing is; then
    their records are acked at their source. A server that is away is tried again for `timeout` seconds. With a `key`, a
    row that is there already is replaced, so that records which are delivered twice are one row.

    Results are dicts with the columns' names, or sequences in the columns' order. As a `dead_letter`, the columns are
    attributes of `Failure`: `record` (as JSON), `step`, `kind`, `error_type`, `message`, `attempts`, `traceback`.

    Args:
        url: as of `PostgresJobs`.
        table: its name, or `schema.name`; it has to be there.
        columns: that get values, in this order. None is NULL; dicts and lists are JSON.
        key: a column, or several, with a unique index: an upsert. None: rows are added.
        delivery_key: one of the columns, which gets the `Delivery.key` of a result's record, instead of a value of the
            result: with it as `key`, any source's records are written once. Of a record's several results only the
            last is left then: let another column be part of `key`.
        timeout: seconds that a write may take, all tries together; then it is a `SinkError`.

    Raises:
        ConfigError: a value is wrong, or the extra `postgres` is not installed.

    Process: the parent, on the event loop; rows are made in the workers.
    """

    def __init__(
        self,
        url: str,
        table: str,
        columns: Sequence[str],
        *,
        key: str | Sequence[str] | None = None,
        delivery_key: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._name = f"PostgresCopy({shown(url)!r}, {table!r})"
        checked(url)
        if isinstance(columns, str) or not columns or not all(isinstance(column, str) for column in columns):
            raise ConfigError(f"{self._name}: columns={columns!r}: must be a list of names")
        keys = () if key is None else (key,) if isinstance(key, str) else (*key,)
        for given in (*keys, *(() if delivery_key is None else (delivery_key,))):
            if given not in columns:
                raise ConfigError(f"{self._name}: {given!r} is none of its columns {', '.join(columns)}")
        self._url = url
        self._table = qualified(table)
        self._values = tuple(column for column in columns if column != delivery_key)
        self._columns = (*self._values, *(() if delivery_key is None else (delivery_key,)))
        self._key = keys
        self._keyed = delivery_key is not None
        self._timeout = positive(self._name, "timeout", timeout)
        self._reach = reach(self._name)
        self._connection: Any = None

    def __repr__(self) -> str:
        return self._name

    @property
    def encode(self) -> Callable[[Any], bytes]:
        """A result to a row, as COPY takes it."""
        return partial(_row, columns=self._values)

    async def __aenter__(self) -> None:
        await self._reach.reached(self._connect, self._timeout)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def write(self, records: Sequence[Any], keys: Sequence[object] = ()) -> None:
        """Put them into the table; returns when that is committed."""
        rows = [record if type(record) is bytes else self.encode(record) for record in records]
        if self._keyed:
            rows = [row + b"\t" + _value(key) for row, key in zip(rows, keys or [None] * len(rows), strict=True)]
        await self._reach.reached(partial(self._copy, b"\n".join(rows) + b"\n"), self._timeout)

    async def _connect(self) -> None:
        if self._connection is not None and not self._connection.broken:
            return
        before, self._connection = self._connection, await connected(self._url)
        if before is not None:
            await before.close()

    async def _copy(self, rows: bytes) -> None:
        await self._connect()
        columns = quoted(*self._columns)
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            into = self._table
            if self._key:
                into = '"pipeframe_rows"'
                await cursor.execute(
                    f"CREATE TEMP TABLE {into} ON COMMIT DROP AS SELECT {columns} FROM {self._table} WITH NO DATA"
                )
                await cursor.execute(f"ALTER TABLE {into} ADD COLUMN pipeframe_row serial")
            async with cursor.copy(f"COPY {into} ({columns}) FROM STDIN") as copy:
                await copy.write(rows)
            if self._key:
                await cursor.execute(self._upsert(into))

    def _upsert(self, rows: str) -> str:
        """The last one of each key, into the table."""
        columns, key = quoted(*self._columns), quoted(*self._key)
        others = [quoted(column) for column in self._columns if column not in self._key]
        changed = ", ".join(f"{column} = EXCLUDED.{column}" for column in others)
        return (
            f"INSERT INTO {self._table} ({columns}) SELECT DISTINCT ON ({key}) {columns} FROM {rows} "
            f"ORDER BY {key}, pipeframe_row DESC "
            f"ON CONFLICT ({key}) DO {f'UPDATE SET {changed}' if others else 'NOTHING'}"
        )


def _row(result: Any, *, columns: tuple[str, ...]) -> bytes:
    """A result as COPY takes it, without its newline."""
    if isinstance(result, Failure):
        result = {name: _bearable(value) for name, value in failure_row(result).items()}
    if isinstance(result, Mapping):
        if missing := [column for column in columns if column not in result]:
            raise KeyError(f"the result has no {', '.join(missing)}; it has {', '.join(map(str, result))}")
        values = [result[column] for column in columns]
    elif isinstance(result, (list, tuple)):
        values = [*result]
        if len(values) != len(columns):
            raise ValueError(
                f"the result has {len(values)} values, for the {len(columns)} columns {', '.join(columns)}"
            )
    else:
        raise TypeError(f"a row is a dict or a sequence, and this is {type(result).__name__}")
    return b"\t".join(map(_value, values))


def _bearable(value: Any) -> Any:
    """A value of a failure, which has to be written: without what PostgreSQL has in no text and no jsonb."""
    if not isinstance(value, str):
        return value
    return UNBEARABLE.sub(lambda escape: escape[1] or "\\ufffd", value.replace("\0", "\ufffd"))


def _value(value: Any) -> bytes:
    """One value of a row."""
    if value is None:
        return b"\\N"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"\\\\x" + bytes(value).hex().encode()
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    if "\0" in text:
        raise ValueError("PostgreSQL takes no text with a NUL in it")
    return text.translate(ESCAPES).encode()
