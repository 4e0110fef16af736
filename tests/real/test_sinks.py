"""Sinks on their real servers: what was written is there once the server has confirmed it, and only then acked."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import redis as redis_client

from pipeframe_async import ConfigError, Delivery, FeedError, PipeFrame, PipelineEngine, SinkError
from pipeframe_async.feeds import PostgresQuery
from pipeframe_async.sinks import PostgresCopy, RedisStream
from pipeframe_async.testing import conform_sink, conform_source
from tests.real.kinds import KINDS
from tests.real.servers import Server, free_port


@pytest.fixture
def name() -> str:
    """Of something new on a server."""
    return f"t{uuid.uuid4().hex[:12]}"


def passed(record: Any) -> tuple[Any, bool]:
    """As it came."""
    return record, True


def fails(record: Any) -> tuple[Any, bool]:
    """Always."""
    raise ValueError("no")


async def written(records: Any, sink: Any, *, step: Any = passed, **hooks: Any) -> Any:
    """Run them into a sink; the report."""
    made = type("Through", (PipelineEngine,), {"steps": [step], "sink": sink, "feed": records, **hooks})
    return await PipeFrame(1, executor="inline").run(made)


def entries(url: str, stream: str) -> list[Any]:
    """What is in a stream."""
    with redis_client.Redis.from_url(url) as client:
        return [json.loads(fields[b"data"]) for _, fields in client.xrange(stream)]


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def execute(url: str, *statements: str) -> None:
    """For a test."""
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


# --- Redis


async def test_results_are_entries_in_order(redis: Server, name: str) -> None:
    report = await written(range(3_000), RedisStream(redis.url, name))
    assert report.delivered == 3_000
    assert entries(redis.url, name) == list(range(3_000))


async def test_a_stream_keeps_about_so_many(redis: Server, name: str) -> None:
    await written(range(5_000), RedisStream(redis.url, name, maxlen=100))
    assert len(entries(redis.url, name)) < 500


async def test_failures_are_entries_too(redis: Server, name: str) -> None:
    await written([{"a": 1}], None, step=fails, dead_letter=RedisStream(redis.url, name), max_failures=None)
    (failure,) = entries(redis.url, name)
    assert (failure["record"], failure["kind"], failure["error_type"]) == ({"a": 1}, "raised", "ValueError")


def test_the_redis_sink_conforms(redis: Server, name: str) -> None:
    def emptied() -> RedisStream:
        with redis_client.Redis.from_url(redis.url) as client:
            client.delete(name)
        return RedisStream(redis.url, name)

    conform_sink(emptied, records=[1, 2, 3, 4], read=lambda: entries(redis.url, name)).check()


async def test_a_sink_whose_server_is_not_there_fails_in_time_and_names_it() -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    with pytest.raises(SinkError, match=r"127\.0\.0\.1") as raised:
        await written([1], RedisStream(url, "out", timeout=0.5))
    assert "secret" not in str(raised.value)


async def test_what_a_sink_could_not_write_is_not_acked(redis: Server, name: str) -> None:
    with redis_client.Redis.from_url(redis.url) as client:
        client.set(name, "no stream")
    acked: list[int] = []

    async def feed() -> AsyncIterator[Delivery[int]]:
        for number in range(3):
            yield Delivery(number, ack=lambda number=number: acked.append(number))  # type: ignore[misc]

    with pytest.raises(SinkError, match="WRONGTYPE"):
        await written(feed(), RedisStream(redis.url, name))
    assert not acked


async def test_a_sink_waits_for_its_server(redis: Server, name: str) -> None:
    async def feed() -> AsyncIterator[int]:
        for number in range(40):
            yield number
            await asyncio.sleep(0.01)

    running = asyncio.ensure_future(written(feed(), RedisStream(redis.url, name), source="stream"))
    await asyncio.sleep(0.1)
    redis.kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(redis.start)
    assert (await running).delivered == 40
    assert sorted({*entries(redis.url, name)}) == list(range(40))


# --- PostgreSQL

ODD = [
    None,
    True,
    1,
    1.5,
    "a\tb\nc\\d\\N\r",
    "",
    b"\x00\xff\\",
    {"a": [1, "ü\n"]},
    decimal.Decimal("1.10"),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678),
]


async def test_rows_have_the_values_of_their_results(postgres: Server, name: str) -> None:
    types = ("int", "bool", "int", "float8", "text", "text", "bytea", "jsonb", "numeric", "timestamp")
    columns = [f"c{index}" for index in range(len(types))]
    table = ", ".join(f"{column} {kind}" for column, kind in zip(columns, types, strict=True))
    execute(postgres.url, f"CREATE TABLE {name} ({table})")
    by_name = dict(zip(columns, ODD, strict=True))
    await written([by_name, tuple(ODD)], PostgresCopy(postgres.url, name, columns))
    assert rows(postgres.url, f"SELECT * FROM {name}") == [tuple(ODD)] * 2


async def test_a_key_replaces_and_the_last_one_counts(postgres: Server, name: str) -> None:
    execute(postgres.url, f"CREATE TABLE {name} (id int PRIMARY KEY, v text)", f"INSERT INTO {name} VALUES (1, 'old')")
    results = [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}, {"id": 1, "v": "c"}]
    await written(results, PostgresCopy(postgres.url, name, ["id", "v"], key="id"))
    assert rows(postgres.url, f"SELECT * FROM {name} ORDER BY id") == [(1, "c"), (2, "b")]


async def test_the_key_of_a_delivery_is_a_column(postgres: Server, name: str) -> None:
    execute(postgres.url, f"CREATE TABLE {name} (entry text PRIMARY KEY, v int)")

    async def feed() -> AsyncIterator[Delivery[dict[str, int]]]:
        for number in (1, 2, 1):  # one of them comes twice
            yield Delivery({"v": number}, key=f"k{number}")

    sink = PostgresCopy(postgres.url, name, ["entry", "v"], key="entry", delivery_key="entry")
    await written(feed(), sink)
    assert rows(postgres.url, f"SELECT * FROM {name} ORDER BY v") == [("k1", 1), ("k2", 2)]


async def test_a_result_without_a_column_is_that_record_s_failure(postgres: Server, name: str) -> None:
    execute(postgres.url, f"CREATE TABLE {name} (id int)")
    sink = PostgresCopy(postgres.url, name, ["id"])
    report = await written([{"id": 1}, {"x": 2}, 3, {"id": "\0"}], sink, max_failures=None)
    assert (report.delivered, report.failed) == (1, 3)


async def test_what_the_table_refuses_ends_the_run_and_leaves_nothing(postgres: Server, name: str) -> None:
    execute(postgres.url, f"CREATE TABLE {name} (id int)")
    with pytest.raises(SinkError, match=r'invalid input syntax.*\n?.*line 1, column id: "x"'):
        await written([{"id": "x"}, {"id": 1}], PostgresCopy(postgres.url, name, ["id"]))
    assert rows(postgres.url, f"SELECT * FROM {name}") == []


def test_the_copy_conforms(postgres: Server, name: str) -> None:
    execute(postgres.url, f"CREATE TABLE {name} (place serial, id int)")

    def emptied() -> PostgresCopy:
        execute(postgres.url, f"TRUNCATE {name}")
        return PostgresCopy(postgres.url, name, ["id"])

    kept = lambda: rows(postgres.url, f"SELECT id FROM {name} ORDER BY place")  # noqa: E731
    conform_sink(emptied, records=[{"id": n} for n in range(4)], read=kept).check()


async def test_a_query_s_rows_come_as_there_is_room(postgres: Server, name: str) -> None:
    taken: list[Any] = []
    query = PostgresQuery(postgres.url, "SELECT n, n * 2 AS twice FROM generate_series(1, %s) AS n", [5_000])
    report = await written(query, staticmethod(taken.extend))
    assert report.fed == 5_000
    assert taken[:2] == [{"n": 1, "twice": 2}, {"n": 2, "twice": 4}]
    assert taken[-1]["n"] == 5_000


async def test_a_query_that_is_none_says_why(postgres: Server) -> None:
    with pytest.raises(FeedError, match=r'relation "nothing" does not exist'):
        await written(PostgresQuery(postgres.url, "SELECT * FROM nothing"), None)


def test_the_query_conforms(postgres: Server) -> None:
    conform_source(
        lambda: PostgresQuery(postgres.url, "SELECT n FROM generate_series(1, 100) AS n"), records=100
    ).check()


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ("id", {}, "must be a list of names"),
        ([], {}, "must be a list of names"),
        (["id"], {"key": "other"}, "'other' is none of its columns id"),
        (["id"], {"delivery_key": "other"}, "'other' is none of its columns id"),
    ],
)
def test_what_is_wrong_with_a_copy_is_said_when_it_is_made(columns: Any, options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PostgresCopy("postgresql://host/db", "t", columns, **options)


@pytest.mark.parametrize("url", ["nonsense", "http://host"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL of a PostgreSQL server"):
        PostgresCopy(url, "t", ["a"])
    with pytest.raises(ConfigError, match="is no URL of a Redis server"):
        RedisStream(url, "t")


@pytest.mark.parametrize("kind", KINDS)
def test_every_queue_conforms(kind: str, request: pytest.FixtureRequest, name: str) -> None:
    server, queue = request.getfixturevalue(kind), KINDS[kind]
    made = iter(range(100))

    def filled() -> Any:
        new = f"{name}_{next(made)}"
        queue.publish(server.url, new, range(100))
        return queue.source(server.url, new, timeout=5.0)

    conform_source(filled, records=100, name=kind).check()
