"""What is Kafka's own: watermarks, rebalances, keys. Against librdkafka's mock cluster, which could not show:

- that a rebalance is over when all have joined, and one that leaves is missed at once: the mock deals partitions after
  `session` less a second, whoever has joined;
- that what became final in a rebalance is committed: the mock takes no commits while there is one, as brokers do, so
  more is delivered twice;
- compaction, transactions and their gaps: it has neither (a stand-in for the library's consumer has them here);
- TLS and SASL, several brokers, a leader that moves.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest

pytest.importorskip("confluent_kafka", reason="its mock cluster is the server")

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeframe_async import ConfigError, Delivery, Failure, PipeFrame, PipelineEngine, SinkError
from pipeframe_async.feeds import KafkaTopic as KafkaFeed
from pipeframe_async.feeds import feed_from
from pipeframe_async.feeds.kafka_group import Group, _offset, _token
from pipeframe_async.feeds.queue import Nack
from pipeframe_async.servers.kafka import settings
from pipeframe_async.sinks import KafkaTopic, sink_to
from pipeframe_async.testing import conform_sink
from tests.real.kinds import KINDS
from tests.real.runs import Run, passed
from tests.real.servers import KafkaMock, Server, free_port
from tests.real.test_sinks import fails, written

PARTITIONS = 4  # of each topic that the mock makes
LEASE = 3.0  # long enough for who is in a group to hear of a rebalance, and finish


@pytest.fixture
def name() -> str:
    """Of a new topic."""
    return f"k{uuid.uuid4().hex[:12]}"


def feed(server: Server, name: str, **options: Any) -> KafkaFeed:
    """Of that topic, for its group."""
    made: KafkaFeed = KINDS["kafka"].source(server.url, name, **options)
    return made


def brokers(server: Server) -> str:
    """For others' clients."""
    return server.url.removeprefix("kafka://")


def publish(server: Server, name: str, numbers: Iterable[int]) -> None:
    """Each to the partition and the offset that it says."""
    producer = Producer({"bootstrap.servers": brokers(server), "linger.ms": 5})
    for number in numbers:
        producer.produce(name, json.dumps(number).encode(), partition=number % PARTITIONS)
    assert producer.flush(20) == 0
    producer.list_topics(name, timeout=10)  # it is there, also with nothing in it


def client(server: Server, name: str) -> Consumer:
    """One that has joined nothing."""
    return Consumer({"bootstrap.servers": brokers(server), "group.id": name, "enable.auto.commit": False})


def committed(server: Server, name: str) -> list[int]:
    """How far each partition is; what nobody has committed is 0."""
    consumer = client(server, name)
    try:
        found = consumer.committed([TopicPartition(name, at) for at in range(PARTITIONS)], timeout=10)
    finally:
        consumer.close()
    return [max(0, one.offset) for one in found]


def kept(server: Server, name: str) -> list[Any]:
    """The messages of a topic: partition, key, value."""
    consumer = client(server, name)
    found: list[Any] = []
    try:
        there = [TopicPartition(name, at, 0) for at in range(PARTITIONS)]
        ends = [consumer.get_watermark_offsets(one, timeout=10)[1] for one in there]
        consumer.assign(there)
        while len(found) < sum(ends):
            found += consumer.consume(sum(ends) - len(found), timeout=5)
    finally:
        consumer.close()
    return [(one.partition(), one.key(), one.value()) for one in found]


def values(server: Server, name: str) -> list[Any]:
    """Sorted: a record without a key goes to any partition."""
    return sorted(json.loads(value) for _, _, value in kept(server, name))


async def taken(source: KafkaFeed, records: int) -> list[Delivery[Any]]:
    """So many deliveries."""
    found: list[Delivery[Any]] = []
    async with asyncio.timeout(20):
        while len(found) < records:
            found += await source.take(records - len(found)) or ()
    return found


async def until(holds: Any, patience: float = 20.0) -> None:
    """Wait for it; it may block."""
    async with asyncio.timeout(patience):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)


def always_one(result: object) -> str:
    """A key, so that all are in order."""
    return "one"


def ack(delivery: Delivery[Any]) -> None:
    """It is final."""
    assert delivery.ack is not None
    delivery.ack()


# --- the feed


@pytest.mark.one_loop
async def test_what_is_committed_is_contiguously_final_in_each_partition(kafka: Server, name: str) -> None:
    publish(kafka, name, range(40))
    source = feed(kafka, name)
    async with source:
        deliveries = {json.loads(d.record): d for d in await taken(source, 40)}
        for number in (39, 35, 4, 8, 1):
            ack(deliveries.pop(number))
        await until(lambda: committed(kafka, name) == [0, 1, 0, 0])
        ack(deliveries.pop(0))
        await until(lambda: committed(kafka, name) == [3, 1, 0, 0])
        for number in [*deliveries]:
            ack(deliveries.pop(number))
    assert committed(kafka, name) == [10] * 4


@pytest.mark.one_loop
async def test_a_stop_commits_no_more_than_was_final(kafka: Server, name: str) -> None:
    publish(kafka, name, range(40))
    source = feed(kafka, name)
    async with source:
        for delivery in await taken(source, 40):
            if json.loads(delivery.record) != 21:
                ack(delivery)
    assert committed(kafka, name) == [10, 5, 10, 10]
    again = feed(kafka, name)
    async with again:
        assert sorted([json.loads(d.record) for d in await taken(again, 5)]) == [21, 25, 29, 33, 37]


@pytest.mark.one_loop
async def test_what_failed_is_delivered_again_and_not_passed(kafka: Server, name: str) -> None:
    publish(kafka, name, [0, 4, 8])
    tries: list[int] = []

    async def fails_first(record: int) -> tuple[int, bool]:
        tries.append(record)
        if tries.count(4) == 1 and record == 4:
            raise ValueError("once")
        return record, True

    run = Run(feed(kafka, name), fails_first, dead_letter=False)
    running = asyncio.ensure_future(run.until(lambda: len(run.taken) == 3))
    await until(lambda: len(run.taken) == 2)
    await asyncio.sleep(0.3)
    assert (await asyncio.to_thread(committed, kafka, name))[0] == 1
    report = await running
    assert (sorted(tries), report.redelivered) == ([0, 4, 4, 8], 1)
    assert committed(kafka, name)[0] == 3


@pytest.mark.one_loop  # it takes its time
async def test_a_rebalance_loses_nothing_and_commits_nothing_that_is_not_final(kafka: Server, name: str) -> None:
    publish(kafka, name, range(400))

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(0.04 if record % 7 else 0.2)
        return record, True

    one, other = (Run(feed(kafka, name, lease=LEASE), slow, buffer_size=30) for _ in range(2))

    marks = [0] * PARTITIONS

    def all_is_committed() -> bool:
        """And what is committed is final."""
        marks[:] = committed(kafka, name)
        for partition, offset in enumerate(marks):
            assert {*range(partition, 4 * offset, 4)} <= {*one.taken, *other.taken}
        return marks == [100] * 4

    first = asyncio.ensure_future(one.until(lambda: marks == [100] * 4))
    await until(lambda: not all_is_committed() and len(one.taken) > 50)
    second = asyncio.ensure_future(other.until(lambda: len(other.taken) > 50))
    await until(all_is_committed)
    reports = await asyncio.gather(first, second)
    assert {*one.taken, *other.taken} == {*range(400)}
    twice = len(one.taken) + len(other.taken) - 400
    assert twice <= 2 * (30 + 150)  # what was in flight, or final behind a slow one, in a rebalance
    assert [report.aborted for report in reports] == [0, 0]


@pytest.mark.one_loop
async def test_what_is_not_finished_in_a_rebalance_is_fenced(
    kafka: Server, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(kafka, name, range(40))
    one, other = (feed(kafka, name, lease=LEASE) for _ in range(2))
    async with one:
        held = await taken(one, 40)
        async with other:
            theirs = await taken(other, 20)
            assert "40 records were given to others, because they are dealt anew" in caplog.text
            for delivery in held:
                ack(delivery)
            again = await taken(one, 20)
            await asyncio.sleep(0.2)
            assert committed(kafka, name) == [0] * 4
            for delivery in theirs:
                ack(delivery)
            await until(lambda: sorted(committed(kafka, name)) == [0, 0, 10, 10])
            for delivery in again:
                ack(delivery)
            await until(lambda: committed(kafka, name) == [10] * 4)


@pytest.mark.one_loop
async def test_a_delivery_s_key_names_its_message_and_a_pair_has_the_message_s_key(kafka: Server, name: str) -> None:
    publish(kafka, name, range(8))
    producer = Producer({"bootstrap.servers": brokers(kafka)})
    producer.produce(name, key=b"gone", partition=0)
    producer.flush(10)
    source = feed(kafka, name, keyed=True)
    async with source:
        deliveries = await taken(source, 9)
        assert source.decode is not None
        assert {d.key: source.decode(d.record) for d in deliveries} == {
            f"{name}-0-2": (b"gone", None),
            **{f"{name}-{number % 4}-{number // 4}": (None, number) for number in range(8)},
        }


@pytest.mark.one_loop
async def test_brokers_that_are_not_there_hold_up_no_end_and_are_no_flood(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeframe_async.feeds.kafka_group.QUIET", 1.0)
    monkeypatch.setattr("pipeframe_async.feeds.live.PARTING", 1.0)
    server = KafkaMock(tmp_path)
    await asyncio.to_thread(server.start)
    publish(server, name, range(200))

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(0.05)
        return record, True

    gone = 0.0
    run = Run(feed(server, name), slow, buffer_size=10)
    running = asyncio.ensure_future(run.until(lambda: gone and time.monotonic() > gone + 1.3))
    await until(lambda: len(run.taken) > 20)
    server.kill()
    gone = time.monotonic()
    await running
    assert time.monotonic() - gone < 2 + 6
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([message for message in said if " is away " in message]) == 1
    assert len(said) < 25, said


class Scripted:
    """A consumer of the library's, with one partition, that gives what a test says."""

    def __init__(self, *batches: Any) -> None:
        self.batches = [*batches]
        self.at = 0
        self.commits: list[int] = []
        self.stopped = False
        self.here = {aiokafka.TopicPartition("t", 0)}

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self.listener = listener

    async def start(self) -> None:
        self.listener.on_partitions_assigned(self.here)

    async def stop(self) -> None:
        self.stopped = True

    def assignment(self) -> Any:
        return self.here

    async def getmany(self, timeout_ms: int, max_records: int) -> Any:
        batch = self.batches.pop(0) if self.batches else ()
        if isinstance(batch, Exception):
            raise batch
        if not batch:
            return {}
        self.at = batch[-1] + 1
        (partition,) = self.here
        return {partition: [SimpleNamespace(offset=offset, key=None, value=b"1") for offset in batch]}

    async def position(self, partition: Any) -> int:
        return self.at

    async def end_offsets(self, partitions: Any) -> Any:
        return dict.fromkeys(partitions, 20)

    async def commit(self, offsets: dict[Any, int]) -> None:
        self.commits += offsets.values()


def token(offset: int) -> int:
    """Of the first assignment."""
    return _token(0, offset)


async def test_gaps_are_not_waited_for() -> None:
    consumer = Scripted([3, 7], [12])
    group = Group("t", False, 6.0, lambda: consumer)
    await group.open()
    for _ in range(2):
        await group.fetch(10, lambda token: False)
    await group.answer([token(7), token(3)], [])
    await group.answer([token(12)], [])
    consumer.at = 15  # two markers of transactions, and nobody's
    assert await group.lag() == 5
    assert consumer.commits == [12, 13, 15]
    await group.close(lambda token: False)
    assert consumer.stopped


async def test_a_failure_whose_answer_takes_long_is_delivered_again_when_that_is_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeframe_async.feeds.live.FIRST_PAUSE", 0.02)
    through = asyncio.Event()

    class Slow(Scripted):
        async def commit(self, offsets: dict[Any, int]) -> None:
            await through.wait()
            await super().commit(offsets)

    consumer = Slow([0, 1])
    source = KafkaFeed("kafka://host", "t", "g", decode=None)
    assert isinstance(source._queue, Group)
    source._queue._make = lambda: consumer
    async with source:
        one, other = await taken(source, 2)
        ack(one)
        assert other.nack is not None
        other.nack(Failure(1, "step", "raised", "ValueError", "no"))
        taking = asyncio.ensure_future(source.take(10))
        await asyncio.sleep(0.2)
        assert not taking.done()
        through.set()
        async with asyncio.timeout(10):
            given = await taking
        assert given is not None
        (again,) = given
        assert again.key == other.key
        ack(again)
    assert consumer.commits[-1] == 2


async def test_what_waits_for_its_sink_is_not_kept_with_its_record() -> None:
    consumer = Scripted([0, 1], (), ())
    group = Group("t", False, 6.0, lambda: consumer)
    await group.open()
    one, other = await group.fetch(10, lambda token: False)
    one.without_record()
    await group.answer([], [Nack(token(1), 0.0, begun=True, deliveries=1)])
    (again,) = await group.fetch(10, lambda token: False)
    assert again.record == other.record == b"1"
    again.without_record()
    assert [message.record for message in group._books[0].open.values()] == [None, None]
    await group.close(lambda token: False)


async def test_between_two_assignments_nothing_is_believed_of_the_old_one() -> None:
    consumer = Scripted([0, 1, 2])
    group = Group("t", False, 6.0, lambda: consumer)
    await group.open()
    given = await group.fetch(10, lambda token: False)
    await consumer.listener.on_partitions_revoked(consumer.here)
    assert await group.lag() is None  # the library is past them still
    await group.answer([message.token for message in given], [])
    assert consumer.commits == [0]
    consumer.at = 1  # another one has committed that
    consumer.listener.on_partitions_assigned(consumer.here)
    assert await group.lag() == 19
    assert consumer.commits == [0, 1]
    await group.close(lambda token: False)


async def test_a_consumer_that_failed_is_made_anew_and_its_positions_are_believed_no_more() -> None:
    consumers = [Scripted([0, 1], aiokafka.errors.KafkaError("bug")), Scripted([1, 2])]
    made = iter(consumers)
    group = Group("t", False, 6.0, lambda: next(made))
    await group.open()
    await group.fetch(10, lambda token: False)
    await group.answer([token(0)], [])
    with pytest.raises(aiokafka.errors.KafkaError, match="bug"):
        await group.fetch(10, lambda token: False)
    consumers[0].at = 99
    with pytest.raises(ConnectionError):
        await group.lag()
    await group.open()
    assert consumers[0].stopped
    assert consumers[0].commits == [1]
    again = await group.fetch(10, lambda token: False)
    assert [_offset(message.token) for message in again] == [1, 2]
    await group.answer(
        [token(1), *(message.token for message in again[1:])], []
    )  # the first one is of the old consumer
    assert consumers[1].commits == [1]
    await group.close(lambda token: False)


async def test_a_failure_counts_its_deliveries_also_over_a_rebalance() -> None:
    consumer = Scripted([0], (), [0])
    group = Group("t", False, 6.0, lambda: consumer)
    await group.open()
    await group.fetch(10, lambda token: False)
    nack = Nack(token(0), 0.0, begun=True, deliveries=1)
    for _ in range(2):  # a call may be repeated
        await group.answer([], [nack])
    assert [message.deliveries for message in await group.fetch(10, lambda token: False)] == [2]
    assert await group.fetch(10, lambda token: False) == ()
    await consumer.listener.on_partitions_revoked(consumer.here)
    assert [message.deliveries for message in await group.fetch(10, lambda token: False)] == [2]
    assert consumer.commits == [0]
    await group.close(lambda token: False)


# --- the sink


@pytest.mark.one_loop
async def test_results_are_records_and_are_sent_together(kafka: Server, name: str) -> None:
    began = time.monotonic()
    report = await written(range(5_000), KafkaTopic(kafka.url, name))
    assert report.delivered == 5_000
    assert time.monotonic() - began < 5
    assert values(kafka, name) == [*range(5_000)]


def test_the_sink_conforms(kafka: Server) -> None:
    names: list[str] = []

    def emptied() -> KafkaTopic:
        names.append(f"k{uuid.uuid4().hex[:12]}")
        publish(kafka, names[-1], ())
        return KafkaTopic(kafka.url, names[-1], key=always_one)

    def read() -> list[Any]:
        return [json.loads(value) for _, _, value in kept(kafka, names[-1])]

    conform_sink(emptied, records=[1, 2, 3, 4], read=read).check()


@pytest.mark.one_loop
async def test_records_of_a_key_are_in_order_in_one_partition(kafka: Server, name: str) -> None:
    sink = KafkaTopic(kafka.url, name, key=lambda n: f"k{n % 3}", encode=lambda n: None if n == 90 else str(n))
    await written(range(100), sink)
    found = kept(kafka, name)
    for key in range(3):
        mine = [(at, value) for at, named, value in found if named == f"k{key}".encode()]
        assert [value for _, value in mine] == [None if n == 90 else str(n).encode() for n in range(key, 100, 3)]
        assert len({at for at, _ in mine}) == 1


@pytest.mark.one_loop
async def test_failures_are_records_too(kafka: Server, name: str) -> None:
    dead = KafkaTopic(kafka.url, name, key=str)
    await written([{"a": 1}], None, step=fails, dead_letter=dead, max_failures=None)
    ((_, key, value),) = kept(kafka, name)
    failure = json.loads(value)
    assert (key, failure["record"], failure["kind"]) == (None, {"a": 1}, "raised")


@pytest.mark.one_loop
async def test_a_sink_waits_for_brokers_that_are_away_and_writes_nothing_twice(
    kafka: Server, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeframe_async.sinks.kafka_topic.QUIET", 0.5)

    async def records() -> AsyncIterator[int]:
        for number in range(40):
            yield number
            await asyncio.sleep(0.01)

    running = asyncio.ensure_future(written(records(), KafkaTopic(kafka.url, name), source="stream"))
    await asyncio.sleep(0.3)
    kafka.pause()
    try:
        await asyncio.sleep(2)
    finally:
        kafka.go_on()
    assert (await running).delivered == 40
    assert values(kafka, name) == [*range(40)]
    assert [" is away " in one.getMessage() for one in caplog.records].count(True) == 1


@pytest.mark.one_loop
async def test_what_is_not_confirmed_in_time_is_not_acked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeframe_async.servers.kafka.PARTING", 0.5)
    server = KafkaMock(tmp_path)
    await asyncio.to_thread(server.start)
    acked: list[int] = []

    async def records() -> AsyncIterator[Delivery[int]]:
        yield Delivery(0, ack=lambda: acked.append(0))
        await asyncio.sleep(0.3)
        server.kill()
        yield Delivery(1, ack=lambda: acked.append(1))

    began = time.monotonic()
    with pytest.raises(SinkError):
        await written(records(), KafkaTopic(server.url, name, timeout=1.0), source="stream")
    assert acked == [0]
    assert time.monotonic() - began < 10


@pytest.mark.one_loop
async def test_a_sink_whose_brokers_are_not_there_fails_in_time_and_names_them() -> None:
    url = f"kafka://me:secret@127.0.0.1:{free_port()}"
    with pytest.raises(SinkError, match=r"127\.0\.0\.1") as raised:
        await written([1], KafkaTopic(url, "out", timeout=0.5))
    assert "secret" not in str(raised.value)


# --- what is said to them


def test_brokers_and_who_asks_are_in_the_url() -> None:
    assert settings("AIOKafkaProducer", "kafka://a:1,b:2", {})["bootstrap_servers"] == ["a:1", "b:2"]
    assert settings("AIOKafkaProducer", ["a:1", "kafka://b:2"], {})["bootstrap_servers"] == ["a:1", "b:2"]
    found = settings("AIOKafkaConsumer", "kafka://me:p%40ss@a", {"security_protocol": "SASL_SSL"})
    assert (found["sasl_plain_username"], found["sasl_plain_password"]) == ("me", "p@ss")
    assert found["security_protocol"] == "SASL_SSL"
    assert found["ssl_context"].check_hostname


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: KafkaTopic("http://host", "t"), "is no URL of Kafka brokers"),
        (lambda: KafkaTopic("kafka://me:secret@host?x=1", "t"), r"me:\*\*\*@host"),
        (lambda: KafkaTopic("kafka://host", ""), "topic=''"),
        (lambda: KafkaTopic("kafka://host", "t", key="id"), "key='id'"),  # type: ignore[arg-type]
        (lambda: KafkaTopic("kafka://host", "t", options={"acks": 0}), "acks"),
        (lambda: KafkaFeed("kafka://host", "t", "g", options={"nonsense": 0}), "nonsense"),
        (lambda: KafkaFeed("kafka://host", "t", "g", start="0"), "start='0'"),
        (lambda: KafkaFeed("kafka://host", "t", "g", session=0), "session=0"),
        (lambda: feed_from("kafka://host?topic=t"), "does not say its group"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_made(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


@pytest.mark.one_loop
async def test_both_ends_can_be_urls(kafka: Server, name: str) -> None:
    publish(kafka, name, range(20))
    source = feed_from(f"{kafka.url}?topic={name}&group={name}&session=1.5")
    made = type("Through", (PipelineEngine,), {"steps": [passed], "feed": source, "timeout": 0.5})
    report = await PipeFrame(1, executor="inline").run(
        type("P", (made,), {"sink": sink_to(f"{kafka.url}?topic={name}2")})
    )
    assert report.delivered == 20
    assert values(kafka, f"{name}2") == [*range(20)]
