"""What PostgreSQL alone can do to a queue or a sink."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import psycopg
import pytest

from pipeframe_async import SinkError
from pipeframe_async.feeds import PostgresJobs
from pipeframe_async.servers.postgres import qualified
from pipeframe_async.sinks import PostgresCopy
from tests.real.kinds import KINDS
from tests.real.runs import Run
from tests.real.servers import Server
from tests.real.test_sinks import execute, rows, written


@pytest.fixture
def name() -> str:
    """Of a new table."""
    return f"p{uuid.uuid4().hex[:12]}"


def bad(record: Any) -> tuple[Any, bool]:
    """Raises what is hard to write."""
    raise ValueError("bad \0 thing")


@pytest.mark.one_loop
async def test_many_consumers_may_make_the_table_at_once(postgres: Server, name: str) -> None:
    async def opened() -> None:
        async with PostgresJobs(postgres.url, name):
            pass

    await asyncio.gather(*(opened() for _ in range(6)))
    assert len(rows(postgres.url, f"SELECT * FROM pg_indexes WHERE tablename = '{name}'")) == 2


@pytest.mark.one_loop
@pytest.mark.parametrize("odd", ["o'brien", "per%cent", 'qu"ote', "a b", "$$", "tööl", "x" * 54, "x" * 70])
async def test_a_table_may_have_any_name(postgres: Server, name: str, odd: str) -> None:
    table = f"{odd[:20]}{name}{odd[20:]}"
    async with PostgresJobs(postgres.url, table) as source:
        execute(postgres.url, f"INSERT INTO {qualified(table)} (record) VALUES ('1')")
        for job in await source.take(5) or ():
            assert job.ack is not None
            job.ack()
    assert rows(postgres.url, f"SELECT * FROM {qualified(table)}") == []


@pytest.mark.one_loop
async def test_a_consumer_that_is_never_idle_keeps_no_notifications(postgres: Server, name: str) -> None:
    async with PostgresJobs(postgres.url, name) as source:
        execute(postgres.url, f"INSERT INTO {name} (record) SELECT to_jsonb(n) FROM generate_series(1, 1000) n")
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            for _ in range(50):
                connection.execute(f"INSERT INTO {name} (record) VALUES ('1')")
                await source.take(5)
        await source.take(5)
        assert len(source._queue._fetching._notifies_backlog) < 40  # type: ignore[attr-defined]


@pytest.mark.one_loop
async def test_a_table_that_is_dropped_is_named(postgres: Server, name: str) -> None:
    run = Run(PostgresJobs(postgres.url, name))
    running = asyncio.ensure_future(run.until(lambda: False))
    await asyncio.sleep(0.3)
    execute(postgres.url, f"DROP TABLE {name}")
    with pytest.raises(Exception, match=rf"PostgresJobs\(.*'{name}'\): UndefinedTable"):
        await running


@pytest.mark.one_loop
@pytest.mark.parametrize("kind", ["text", "jsonb"])
async def test_a_dead_letter_takes_any_failure(postgres: Server, name: str, kind: str) -> None:
    execute(postgres.url, f"CREATE TABLE {name} (place serial, record {kind}, message text)")
    records = [b"\x00\xff", "a\0b", {"a": "\0", "b": "\\u0000"}, 5, b'{"a":1}', "\ud800"]
    dead = PostgresCopy(postgres.url, name, ["record", "message"])
    report = await written(records, None, step=bad, dead_letter=dead, max_failures=None)
    assert report.failed == len(records)
    found = rows(postgres.url, f"SELECT record::text, message FROM {name} ORDER BY place")
    assert found[3] == ("5", "bad \ufffd thing")
    assert len(found) == len(records)


@pytest.mark.one_loop
async def test_columns_may_have_dots(postgres: Server, name: str) -> None:
    execute(postgres.url, f'CREATE TABLE {name} ("a.b" int PRIMARY KEY, "p%c" int)')
    await written([(1, 2), (1, 3)], PostgresCopy(postgres.url, name, ["a.b", "p%c"], key="a.b"))
    assert rows(postgres.url, f"SELECT * FROM {name}") == [(1, 3)]


@pytest.mark.one_loop
async def test_text_is_what_it_was_in_a_database_of_another_encoding(postgres: Server, name: str) -> None:
    url = postgres.url.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    execute(url, "CREATE TABLE t (a text)")
    await written([("äö",)], PostgresCopy(url, "t", ["a"]))
    assert rows(url, "SELECT length(a) FROM t") == [(2,)]


@pytest.mark.one_loop
async def test_a_table_that_is_locked_is_given_up_in_time(postgres: Server, name: str) -> None:
    execute(postgres.url, f"CREATE TABLE {name} (a int)")
    with psycopg.connect(postgres.url) as connection:
        connection.execute(f"LOCK TABLE {name}")
        with pytest.raises(SinkError, match=r"has not answered within 0\.5 s"):
            await written([(1,)], PostgresCopy(postgres.url, name, ["a"], timeout=0.5))


@pytest.mark.one_loop
async def test_a_transaction_that_met_another_s_is_tried_again(postgres: Server, name: str) -> None:
    execute(
        postgres.url,
        f"CREATE TABLE {name} (a int)",
        f"CREATE SEQUENCE {name}_tries",
        f"CREATE FUNCTION {name}_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('{name}_tries') < 3 THEN "
        "RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END IF; RETURN NEW; END $$",
        f"CREATE TRIGGER t BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_f()",
    )
    await written([(1,)], PostgresCopy(postgres.url, name, ["a"]))
    assert rows(postgres.url, f"SELECT a FROM {name}") == [(1,)]


@pytest.mark.one_loop
async def test_a_fetch_that_is_cancelled_at_any_moment_leaves_no_job_invisible(postgres: Server, name: str) -> None:
    queue = KINDS["postgres"]
    queue.publish(postgres.url, name, range(100))
    for moment in range(20):
        async with queue.source(postgres.url, name) as source:
            taking = asyncio.ensure_future(source.take(50))
            await asyncio.sleep(moment / 4_000)
            taking.cancel()
            await asyncio.wait([taking])
            for delivery in [] if taking.cancelled() else taking.result() or ():
                delivery.nack(None)
        with psycopg.connect(postgres.url) as connection:
            found = connection.execute(f"SELECT count(*) FROM {name} WHERE visible_at > now() OR attempts > 0")
            assert found.fetchone() == (0,)
