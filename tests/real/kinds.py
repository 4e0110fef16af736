"""The queues that are tried, each as a few functions that need no event loop; and their sources."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """A queue of one name on a server.

    Attributes:
        publish: puts records into it.
        unanswered: how many the server still has for its consumers, given out or not.
        source: a feed of it; called in other processes too.
        forgets: how many answers a server may have forgotten that was killed, though it has confirmed them.
        keeps: it has what it had when it is started again after a kill; else it is paused instead.
        counts: it knows how often a record was delivered to consumers that died.
        deals: who joins is dealt what others are at, as those who leave leave theirs.
        lease: seconds until others have what a program had that died.
    """

    publish: Callable[[str, str, Iterable[Any]], None]
    unanswered: Callable[[str, str], int]
    source: Callable[..., Any]
    forgets: int = 0
    keeps: bool = True
    counts: bool = True
    deals: bool = False
    lease: float = 2.0


GROUP = "workers"
SESSION = 1.5  # the mock of Kafka makes others wait for about this long


def _redis_publish(url: str, name: str, records: Iterable[Any]) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        pipe = client.pipeline(transaction=False)
        for record in records:
            pipe.xadd(name, {"data": json.dumps(record)})
        pipe.execute()


def _redis_unanswered(url: str, name: str) -> int:
    import redis

    with redis.Redis.from_url(url) as client:
        group = client.xinfo_groups(name)[0]
        return int(group["pending"]) + int(group["lag"])


def _redis_source(url: str, name: str, **options: Any) -> Any:
    from pipeframe_async.feeds import RedisStream

    return RedisStream(url, name, GROUP, **options)


def _postgres_publish(url: str, name: str, records: Iterable[Any]) -> None:
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        _in_a_loop_of_its_own(_postgres_source(url, name))
        with cursor.copy(f"COPY {name} (record) FROM STDIN") as copy:
            for record in records:
                copy.write_row((json.dumps(record),))


def _in_a_loop_of_its_own(source: Any) -> None:
    """It is opened and closed, which makes what it reads."""

    async def opened() -> None:
        async with source:
            pass

    _in_a_thread(opened())


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """What it gives, run where there is no other loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _postgres_unanswered(url: str, name: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
        assert row is not None
        return int(row[0])


def _postgres_source(url: str, name: str, **options: Any) -> Any:
    from pipeframe_async.feeds import PostgresJobs

    return PostgresJobs(url, name, **options)


def _nats_publish(url: str, name: str, records: Iterable[Any]) -> None:
    import nats

    async def published() -> None:
        connection = await nats.connect(url)
        context = connection.jetstream()
        await context.add_stream(name=name, subjects=[name])
        for sent in [await context.publish_async(name, json.dumps(record).encode()) for record in records]:
            await sent
        await connection.close()

    _in_a_thread(published())


def _nats_unanswered(url: str, name: str) -> int:
    import nats

    async def asked() -> int:
        connection = await nats.connect(url)
        found = await connection.jetstream().consumer_info(name, GROUP)
        await connection.close()
        return (found.num_pending or 0) + (found.num_ack_pending or 0)

    return _in_a_thread(asked())


def _nats_source(url: str, name: str, **options: Any) -> Any:
    from pipeframe_async.feeds import JetStream

    return JetStream(url, name, GROUP, **options)


def _kafka_publish(url: str, name: str, records: Iterable[Any]) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": _brokers(url), "linger.ms": 5})
    for record in records:
        producer.produce(name, json.dumps(record).encode())
    assert producer.flush(20) == 0


def _brokers(url: str) -> str:
    return url.removeprefix("kafka://")


def _kafka_unanswered(url: str, name: str) -> int:
    import aiokafka

    async def asked() -> int:
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=_brokers(url), group_id=name, enable_auto_commit=False)
        await consumer.start()
        try:
            await consumer._client._wait_on_metadata(name)
            there = [aiokafka.TopicPartition(name, at) for at in consumer.partitions_for_topic(name) or ()]
            ends, begins = await consumer.end_offsets(there), await consumer.beginning_offsets(there)
            return sum([ends[one] - (await consumer.committed(one) or begins[one]) for one in there])
        finally:
            await consumer.stop()

    return _in_a_thread(asked())


def _kafka_source(url: str, name: str, lease: float = SESSION, **options: Any) -> Any:
    from pipeframe_async.feeds import KafkaTopic

    _leaders_wait()
    return KafkaTopic(url, name, name, session=lease, **options)


@cache
def _leaders_wait() -> None:
    """The mock cluster refuses who asks for partitions after the group's leader has dealt them; a broker would not."""
    from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance

    deal = CoordinatorGroupRebalance._on_join_leader

    async def later(self: Any, response: Any) -> Any:
        await asyncio.sleep(0.1)
        return await deal(self, response)

    CoordinatorGroupRebalance._on_join_leader = later


KINDS: Mapping[str, Kind] = {
    "redis": Kind(_redis_publish, _redis_unanswered, _redis_source),
    "nats": Kind(_nats_publish, _nats_unanswered, _nats_source, forgets=200),  # it writes them every 100 ms
    "kafka": Kind(
        _kafka_publish, _kafka_unanswered, _kafka_source, forgets=200, keeps=False, counts=False, deals=True, lease=1.0
    ),
    "postgres": Kind(_postgres_publish, _postgres_unanswered, _postgres_source),
}
