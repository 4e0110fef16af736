"""`PostgresJobs`: a table as a queue of jobs. `PostgresQuery`: the rows of a query, as they are asked for."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds.live import ITERATED, Live
from pipeframe_async.feeds.queue import Message, Nack, Queue
from pipeframe_async.model import Chunk
from pipeframe_async.servers.postgres import EXTRA, checked, connected, in_query, qualified, quoted, reach
from pipeframe_async.servers.reach import needed, positive
from pipeframe_async.urls import shown

WAIT = 1.0
"""Seconds that a fetch waits for a job. Longer delays those that become visible by time, shorter is idle traffic."""
MOST_COUNTED = 100_000
"""Jobs that `lag` counts at most. More take the server long, every second."""

LONGEST_CHANNEL = 63
"""Characters, of PostgreSQL: a NOTIFY with more fails, and so would the insert that it belongs to."""

Token = tuple[int, int]
"""A job's id, and which of its deliveries this is: what has been given to others has another."""


class PostgresJobs(Live[Token]):
    """A table of jobs, shared by all consumers: `feed = PostgresJobs("postgresql://host/db", "jobs")`.

    Each job is delivered at least once: it is deleted when the sink has taken what it came to, or `dead_letter` its
    failure. Until then it is invisible for `lease` seconds at a time, as long as its consumer lives. A job that failed,
    and that no `dead_letter` has, is visible again after 1, 2, 4 … seconds.

    Where the table is not there it is made, with `id`, `record` (jsonb), `visible_at` and `attempts`, an index and a
    trigger that wakes consumers. Whoever has a job writes `INSERT INTO jobs (record) VALUES ('{"order": 5}')`, also in
    a transaction of its own with other things; with `visible_at` it is one for later.

    The record is what is in `record`, decoded in the workers; its `key` is the id.

    Args:
        url: `postgresql://user:password@host:5432/database`, or what else libpq takes.
        table: its name, or `schema.name`.
        decode: bytes of the record's text to the record, in the workers; None leaves bytes.
        create: make the table where it is not there.
        lease: seconds; extended for as long as a record waits or is worked on.
        max_deliveries: of one record; then it is a failure of kind `"poison"`, for `dead_letter`. None: any number.
        timeout: seconds that the first connection may take. Later ones may take any time.

    Raises:
        ConfigError: a value is wrong, or the extra `postgres` is not installed.

    Process: the parent, on the event loop; `decode` runs in the workers.
    """

    def __init__(
        self,
        url: str,
        table: str,
        *,
        decode: Callable[[bytes], Any] | None = json.loads,
        create: bool = True,
        lease: float = 60.0,
        max_deliveries: int | None = 5,
        timeout: float = 10.0,
    ) -> None:
        name = f"PostgresJobs({shown(url)!r}, {table!r})"
        if not isinstance(table, str) or not table:
            raise ConfigError(f"{name}: table={table!r}: must be a name")
        checked(url)
        super().__init__(
            _Table(url, table, lease, create=create),
            reach(name),
            name=name,
            lease=lease,
            max_deliveries=max_deliveries,
            timeout=timeout,
        )
        self.decode = decode


class _Table(Queue[Token]):
    """The table, with a connection that fetches and waits, and one for all else."""

    def __init__(self, url: str, table: str, lease: float, *, create: bool) -> None:
        self._url = url
        self._named = qualified(table)
        self._table = in_query(self._named)
        self._name = table
        self._channel = _channel(table)
        self._lease = lease
        self._create = create
        self._opening = asyncio.Lock()
        self._fetching: Any = None
        self._taking: asyncio.Future[list[tuple[int, bytes, int]]] | None = None  # and nobody has what it took
        self._telling: Any = None

    async def open(self) -> None:
        """Connect, where that is not so; make the table where it is not there."""
        async with self._opening:
            for name in ("_fetching", "_telling"):
                before = getattr(self, name)
                if before is not None and not before.broken:
                    continue
                setattr(self, name, await connected(self._url))
                if before is not None:
                    await before.close()
            if self._create:
                await self._make()
            await self._fetching.execute(f"LISTEN {quoted(self._channel)}")

    async def _make(self) -> None:
        found = await self._telling.execute("SELECT to_regclass(%s)", (self._named,))
        if (await found.fetchone())[0] is not None:
            return
        table, function = self._named, qualified(f"{self._name}_wakes")
        made = needed("psycopg.errors", EXTRA).DuplicateTable  # by others, while this one waited for the lock
        with suppress(made):
            async with self._telling.transaction():
                await self._telling.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self._channel,))
                await self._telling.execute(
                    f"CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                    "record jsonb NOT NULL, visible_at timestamptz NOT NULL DEFAULT now(), "
                    "attempts integer NOT NULL DEFAULT 0)"
                )
                await self._telling.execute(f"CREATE INDEX ON {table} (visible_at, id)")
                await self._telling.execute(
                    f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN PERFORM pg_notify('{self._channel}', ''); RETURN NULL; END $$"
                )
                await self._telling.execute(
                    f"CREATE TRIGGER wakes AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
                )

    async def fetch(self, most: int, known: Callable[[Token], bool]) -> Sequence[Message[Token]]:
        """Those that are visible, the oldest first; where there are none, after the next insert."""
        rows = await self._taken(most)
        async for _ in self._fetching.notifies(timeout=0 if rows else WAIT, stop_after=1):
            pass  # those that came meanwhile are not kept: a consumer that is never idle would keep all
        if not rows:
            rows = await self._taken(most)
        self._taking = None  # from here to who keeps them nothing is waited for
        return [Message((number, attempts), number, record, attempts) for number, record, attempts in rows]

    async def _taken(self, most: int) -> list[tuple[int, bytes, int]]:
        """Visible ones, which are this consumer's now; `close` hands them back where a cancel comes between."""
        self._taking = asyncio.ensure_future(self._visible(most))
        return await asyncio.shield(self._taking)

    async def _visible(self, most: int) -> list[tuple[int, bytes, int]]:
        cursor = await self._fetching.execute(
            f"WITH found AS (SELECT id FROM {self._table} WHERE visible_at <= clock_timestamp() "
            "ORDER BY visible_at, id LIMIT %s FOR UPDATE SKIP LOCKED) "
            f"UPDATE {self._table} AS job SET visible_at = clock_timestamp() + make_interval(secs => %s), "
            "attempts = attempts + 1 FROM found WHERE job.id = found.id "
            "RETURNING job.id, convert_to(job.record::text, 'UTF8'), job.attempts",
            (most, self._lease),
            binary=True,
        )
        rows: list[tuple[int, bytes, int]] = await cursor.fetchall()
        return rows

    async def answer(self, acks: Sequence[Token], nacks: Sequence[Nack[Token]]) -> None:
        """Delete those that are done, and let the others be visible."""
        if acks:
            ids, attempts = zip(*acks, strict=True)
            await self._telling.execute(
                f"DELETE FROM {self._table} AS job USING unnest(%s::bigint[], %s::integer[]) AS done(id, attempts) "
                "WHERE job.id = done.id AND job.attempts = done.attempts",
                ([*ids], [*attempts]),
            )
        if nacks:
            tokens, pauses, begun, _ = zip(*nacks, strict=True)
            ids, attempts = zip(*tokens, strict=True)
            await self._telling.execute(
                f"UPDATE {self._table} AS job SET visible_at = clock_timestamp() + make_interval(secs => pause), "
                "attempts = job.attempts - back FROM unnest(%s::bigint[], %s::integer[], %s::float8[], "
                "%s::integer[]) AS given(id, attempts, pause, back) "
                "WHERE job.id = given.id AND job.attempts = given.attempts",
                ([*ids], [*attempts], [*pauses], [int(not one) for one in begun]),
            )

    async def extend(self, tokens: Sequence[Token]) -> Iterable[Token]:
        """Of those that have not been delivered again."""
        ids, attempts = zip(*tokens, strict=True)
        cursor = await self._telling.execute(
            f"UPDATE {self._table} AS job SET visible_at = clock_timestamp() + make_interval(secs => %s) "
            "FROM unnest(%s::bigint[], %s::integer[]) AS held(id, attempts) "
            "WHERE job.id = held.id AND job.attempts = held.attempts RETURNING job.id, job.attempts",
            (self._lease, [*ids], [*attempts]),
        )
        return {*tokens} - {*await cursor.fetchall()}

    async def lag(self) -> int | None:
        """Visible jobs, up to a hundred thousand."""
        cursor = await self._telling.execute(
            f"SELECT count(*) FROM (SELECT FROM {self._table} WHERE visible_at <= clock_timestamp() "
            f"LIMIT {MOST_COUNTED}) AS visible",
            (),
        )
        count: int = (await cursor.fetchone())[0]
        return count

    async def close(self, known: Callable[[Token], bool]) -> None:
        """Disconnect, and hand back what a fetch took that was cancelled."""
        if self._taking is not None:
            taking, self._taking = self._taking, None
            with suppress(Exception):  # it has failed: then its jobs become visible by time, if it has taken any
                rows = await taking
                await self.answer([], [Nack((number, attempts), 0.0, False, attempts) for number, _, attempts in rows])
        opened, self._fetching, self._telling = (self._fetching, self._telling), None, None
        self._opening = asyncio.Lock()  # the next run may have another loop
        for connection in opened:
            if connection is not None:
                await connection.close()


def _channel(table: str) -> str:
    """What consumers listen to: of a plain name, or of what PostgreSQL has room for."""
    plain = f"pipeframe_{table.replace('.', '_')}"
    if len(plain) <= LONGEST_CHANNEL and plain.isascii() and plain.replace("_", "a").isalnum():
        return plain
    return f"pipeframe_{hashlib.sha256(table.encode()).hexdigest()[:32]}"


class PostgresQuery:
    """The rows of a query, read as there is room for them: `feed = PostgresQuery(url, "SELECT * FROM orders")`.

    A cursor of the server's, in one transaction: what is read is how things were when it began, and memory is bounded
    on both sides, however many rows there are. A connection that is lost ends the feed with an error.

    Args:
        url: as of `PostgresJobs`.
        query: SQL with `%s` or `%(name)s` for parameters.
        parameters: their values.
        timeout: seconds that connecting may take.

    The records are dicts of the columns' names and values.

    Raises:
        ConfigError: a value is wrong, or the extra `postgres` is not installed.

    Process: the parent, on the event loop.
    """

    streams = True

    def __init__(
        self,
        url: str,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        timeout: float = 10.0,
    ) -> None:
        checked(url)
        self._url = url
        self._query = query
        self._parameters = parameters
        self._name = f"PostgresQuery({shown(url)!r})"
        self._timeout = positive(self._name, "timeout", timeout)
        self._reach = reach(self._name)
        self._connection: Any = None
        self._cursor: Any = None

    def __repr__(self) -> str:
        return self._name

    async def take(self, room: int) -> list[dict[str, Any]] | None:
        """The next rows."""
        rows: list[dict[str, Any]] = await self._cursor.fetchmany(room)
        return rows or None

    async def __aiter__(self) -> AsyncIterator[Chunk[dict[str, Any]]]:
        while (rows := await self.take(ITERATED)) is not None:
            yield Chunk(rows)

    async def __aenter__(self) -> None:
        self._connection = await self._reach.reached(lambda: connected(self._url), self._timeout)
        try:
            await self._connection.set_autocommit(False)
            self._cursor = self._connection.cursor("pipeframe", row_factory=needed("psycopg.rows", EXTRA).dict_row)
            await self._cursor.execute(self._query, self._parameters)
        except BaseException:
            await self._close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._cursor is not None:
            await self._cursor.close()
        await self._connection.close()
