"""What Redis alone can do to a queue or a sink."""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from pipeframe_async import FeedError
from pipeframe_async.feeds import RedisStream
from pipeframe_async.sinks import RedisStream as ToRedis
from tests.real.folders import SERVER_FOLDER
from tests.real.kinds import GROUP, KINDS
from tests.real.runs import Run
from tests.real.servers import Server, missing, redis_server
from tests.real.test_sinks import entries, written

QUEUE = KINDS["redis"]


@pytest.fixture
def name() -> str:
    """Of a new stream."""
    return f"r{uuid.uuid4().hex[:12]}"


@pytest.fixture
def client(redis: Server) -> Iterator[redis_client.Redis]:
    """To do things to it."""
    with redis_client.Redis.from_url(redis.url) as made:
        yield made


def left_behind(client: redis_client.Redis, name: str, records: int) -> None:
    """A dead consumer had all of them."""
    client.xgroup_create(name, GROUP, id="0")
    client.xreadgroup(GROUP, "dead", {name: ">"}, count=records)


@pytest.mark.one_loop
async def test_a_server_that_is_a_replica_for_a_while_is_away(
    redis: Server, client: redis_client.Redis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    QUEUE.publish(redis.url, name, range(30))

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(0.02)
        return record, True

    run = Run(QUEUE.source(redis.url, name), slow, buffer_size=5)
    running = asyncio.ensure_future(run.until(lambda: len({*run.taken}) == 30))
    while len(run.taken) < 5:
        await asyncio.sleep(0.01)
    client.replicaof("127.0.0.1", "1")  # a failover, seen by the one that was the master
    try:
        writing = asyncio.ensure_future(written(range(3), ToRedis(redis.url, f"{name}.out")))
        while caplog.text.count(" is away ") < 2:
            await asyncio.sleep(0.01)
    finally:
        client.replicaof("NO", "ONE")
    assert (await running).reconnects == 1
    assert (await writing).delivered == 3
    assert entries(redis.url, f"{name}.out") == [0, 1, 2]
    assert sorted(run.taken) == [*range(30)]
    assert QUEUE.unanswered(redis.url, name) == 0


@pytest.mark.one_loop
async def test_what_was_delivered_while_a_consumer_was_closed_is_not_removed_with_it(
    redis: Server, client: redis_client.Redis, name: str
) -> None:
    QUEUE.publish(redis.url, name, [])
    async with QUEUE.source(redis.url, name) as source:
        group = source._queue
        pages = group._pages

        async def looked() -> Any:
            found = await pages()
            client.xadd(name, {"data": "1"})  # and a read that was given up gets it after that look
            client.xreadgroup(GROUP, group._consumer, {name: ">"})
            return found

        group._pages = looked
    assert client.xpending(name, GROUP)["pending"] == 1


@pytest.mark.one_loop
async def test_an_entry_without_the_field_is_a_failure_also_where_nothing_is_decoded(
    redis: Server, client: redis_client.Redis, name: str
) -> None:
    client.xadd(name, {"other": b"\xff"})
    client.xadd(name, {"data": b"\xff\x00"})
    run = Run(RedisStream(redis.url, name, GROUP, decode=None))
    await run.until(lambda: len(run.taken) + len(run.failures) == 2)
    assert run.taken == [b"\xff\x00"]
    assert "no field 'data'; it has other" in run.failures[0].message
    assert QUEUE.unanswered(redis.url, name) == 0


@pytest.mark.one_loop
@pytest.mark.parametrize("gone", ["stream", "group"])
async def test_a_stream_or_group_that_is_gone_is_named(
    redis: Server, client: redis_client.Redis, name: str, gone: str
) -> None:
    run = Run(QUEUE.source(redis.url, name))
    running = asyncio.ensure_future(run.until(lambda: False))
    while run.frame.stats().lag is None:
        await asyncio.sleep(0.01)
    if gone == "stream":
        client.delete(name)
    else:
        client.xgroup_destroy(name, GROUP)
    with pytest.raises(FeedError, match=rf"RedisStream\(.*'{name}', '{GROUP}'\): "):
        await running


@pytest.mark.one_loop
async def test_who_may_not_run_scripts_is_told_at_once(redis: Server, client: redis_client.Redis, name: str) -> None:
    client.acl_setuser(name, enabled=True, passwords=["+pw"], keys=["*"], categories=["+@all", "-@scripting"])
    url = redis.url.replace("redis://", f"redis://{name}:pw@")
    with pytest.raises(FeedError, match=r"no permissions to run the 'evalsha'") as raised:
        await Run(RedisStream(url, name, GROUP)).until(lambda: False)
    assert ":pw@" not in str(raised.value)


@pytest.mark.one_loop
async def test_pending_entries_that_were_deleted_are_nobody_s(
    redis: Server, client: redis_client.Redis, name: str
) -> None:
    QUEUE.publish(redis.url, name, range(20))
    left_behind(client, name, 20)
    client.xtrim(name, maxlen=10, approximate=False)
    await asyncio.sleep(0.3)
    run = Run(QUEUE.source(redis.url, name, lease=0.3, consumer="dead"))
    await run.until(lambda: len(run.taken) == 10)
    assert sorted(run.taken) == [*range(10, 20)]
    assert client.xpending(name, GROUP)["pending"] == 0


@pytest.fixture(scope="module")
def old_redis() -> Iterator[Server]:
    """One that has no XAUTOCLAIM."""
    with tempfile.TemporaryDirectory(prefix=f"{SERVER_FOLDER}redis-") as folder:
        if (server := redis_server(Path(folder), None, "--rename-command", "XAUTOCLAIM", "")) is None:
            missing("redis")
            return
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.mark.one_loop
async def test_without_xautoclaim_what_others_left_is_taken_over(old_redis: Server, name: str) -> None:
    QUEUE.publish(old_redis.url, name, range(300))
    with redis_client.Redis.from_url(old_redis.url) as client:
        left_behind(client, name, 250)
        await asyncio.sleep(0.3)
    run = Run(QUEUE.source(old_redis.url, name, lease=0.3), buffer_size=20)
    report = await run.until(lambda: len({*run.taken}) == 300, patience=10.0)  # not twenty a second
    assert sorted(run.taken) == [*range(300)]
    assert report.redelivered == 250
    assert QUEUE.unanswered(old_redis.url, name) == 0


def test_an_entry_s_text_is_not_taken_for_a_busy_server(redis: Server, name: str) -> None:
    from pipeframe_async.servers.redis import BUSY

    assert BUSY.search("BUSY Redis is busy running a script.")
    assert BUSY.search("Command # 1 (XADD a * data x) of pipeline caused error: ('BUSY Redis is busy',)")
    assert not BUSY.search("BUSYGROUP Consumer Group name already exists")
    assert not BUSY.search(
        f"Command # 1 (XADD a * data {json.dumps('BUSY x')}) of pipeline caused error: ('WRONGTYPE',)"
    )
