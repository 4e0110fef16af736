"""What NATS alone can do to a queue or a sink."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any

import nats as client
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy

from pipeframe_async import Delivery, FeedError, SinkError, expand
from pipeframe_async.feeds import JetStream
from pipeframe_async.sinks import JetStream as ToJetStream
from tests.real.kinds import GROUP, KINDS
from tests.real.runs import Run
from tests.real.servers import Server
from tests.real.test_sinks import written

QUEUE = KINDS["nats"]


@pytest.fixture
def name() -> str:
    """Of a new stream."""
    return f"n{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def context(nats: Server) -> AsyncIterator[Any]:
    """To do things to it."""
    connection = await client.connect(nats.url)
    yield connection.jetstream()
    await connection.close()


async def deliveries(keys: Iterable[int]) -> AsyncIterator[Delivery[Any]]:
    """Of a source that counts from there."""
    for key in keys:
        yield Delivery([key, key], key=key)


async def messages(context: Any, name: str) -> int:
    """How many a stream has."""
    return int((await context.stream_info(name)).state.messages)


# --- the feed


@pytest.mark.one_loop
async def test_a_consumer_that_holds_some_back_gives_the_rest_as_it_gets_acks(
    nats: Server, context: Any, name: str
) -> None:
    QUEUE.publish(nats.url, name, range(50))
    await context.add_consumer(name, ConsumerConfig(durable_name=GROUP, max_ack_pending=5))
    run = Run(QUEUE.source(nats.url, name))
    report = await run.until(lambda: len(run.taken) == 50, patience=5.0)
    assert (sorted(run.taken), report.redelivered, report.reconnects) == ([*range(50)], 0, 0)


@pytest.mark.one_loop
async def test_a_consumer_that_gives_few_at_a_time_is_asked_for_few(nats: Server, context: Any, name: str) -> None:
    QUEUE.publish(nats.url, name, range(100))
    config = {"durable_name": GROUP, "ack_policy": "explicit", "max_batch": 10}
    asked = json.dumps({"stream_name": name, "config": config}).encode()
    await context._nc.request(f"$JS.API.CONSUMER.DURABLE.CREATE.{name}.{GROUP}", asked)
    run = Run(QUEUE.source(nats.url, name))
    await run.until(lambda: len(run.taken) == 100, patience=5.0)


@pytest.mark.one_loop
@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"deliver_subject": "there"}, {}, "pushes its messages to 'there'"),
        ({"ack_policy": AckPolicy.NONE}, {}, "its ack policy is 'none'"),
        ({"ack_policy": AckPolicy.ALL}, {}, "its ack policy is 'all'"),
        ({}, {"subject": "other"}, r"is for the subjects \[None\], not for 'other'"),
    ],
)
async def test_a_consumer_that_could_lose_records_is_refused(
    nats: Server, context: Any, name: str, config: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    QUEUE.publish(nats.url, name, range(3))
    await context.add_consumer(name, ConsumerConfig(durable_name=GROUP, **config))
    with pytest.raises(FeedError, match=said):
        await Run(QUEUE.source(nats.url, name, **options)).until(lambda: False)


@pytest.mark.one_loop
async def test_what_a_server_would_give_up_ends_in_the_dead_letter(nats: Server, context: Any, name: str) -> None:
    QUEUE.publish(nats.url, name, [1])
    await context.add_consumer(name, ConsumerConfig(durable_name=GROUP, max_deliver=2, backoff=[0.1]))
    run = Run(QUEUE.source(nats.url, name, lease=0.5, max_deliveries=3))
    for _ in range(3):
        async with run.source as source:
            assert await source.take(1)
            source._held.clear()  # as if it had died
        await asyncio.sleep(0.6)
    await run.until(lambda: run.failures, patience=5.0)
    assert run.failures[0].kind == "poison"


@pytest.mark.one_loop
@pytest.mark.parametrize("gone", ["consumer", "stream"])
async def test_what_is_gone_is_named(nats: Server, context: Any, name: str, gone: str) -> None:
    QUEUE.publish(nats.url, name, [])
    run = Run(QUEUE.source(nats.url, name))
    running = asyncio.ensure_future(run.until(lambda: False))
    while run.frame.stats().lag is None:
        await asyncio.sleep(0.01)
    await (context.delete_consumer(name, GROUP) if gone == "consumer" else context.delete_stream(name))
    with pytest.raises(FeedError, match=rf"JetStream\(.*'{name}', '{GROUP}'\): .*({gone} not found|Consumer Deleted)"):
        await running


@pytest.mark.one_loop
async def test_a_server_that_is_not_there_at_the_start_is_said(
    nats: Server, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    QUEUE.publish(nats.url, name, range(3))
    nats.kill()
    run = Run(QUEUE.source(nats.url, name))
    running = asyncio.ensure_future(run.until(lambda: len(run.taken) == 3))
    while " is away " not in caplog.text:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(nats.start)
    assert (await running).reconnects == 1


@pytest.mark.one_loop
async def test_a_connection_whose_server_was_silent_is_used_no_more(nats: Server, name: str) -> None:
    QUEUE.publish(nats.url, name, range(3))
    async with QUEUE.source(nats.url, name) as source:
        connection, flush = source._queue._connection, source._queue._connection.flush

        async def silent() -> None:
            await flush(timeout=0.001)

        nats.pause()
        await asyncio.sleep(0.1)
        connection.flush = silent
        try:
            with pytest.raises(client.errors.TimeoutError):
                await source._queue.extend(["$JS.ACK.x"])
        finally:
            nats.go_on()
        assert connection.is_closed


def test_a_source_may_be_used_in_one_loop_after_the_other(nats: Server, name: str) -> None:
    QUEUE.publish(nats.url, name, range(3))
    source = JetStream(nats.url, name, GROUP)
    for expected in (3, 0):
        run = Run(source)
        asyncio.run(run.until(lambda run=run, expected=expected: len(run.taken) == expected))


# --- the sink


@pytest.mark.one_loop
async def test_two_sources_whose_keys_are_the_same_lose_nothing(nats: Server, context: Any, name: str) -> None:
    QUEUE.publish(nats.url, name, [])
    for _ in range(2):
        await written(deliveries(range(10)), ToJetStream(nats.url, name))
    assert await messages(context, name) == 20


@pytest.mark.one_loop
async def test_with_ids_what_is_delivered_twice_is_there_once(nats: Server, context: Any, name: str) -> None:
    QUEUE.publish(nats.url, name, [])
    for ids, kept in (("orders", 20), ("orders", 20), ("refunds", 40)):
        await written(deliveries(range(10)), ToJetStream(nats.url, name, ids=ids), step=expand(list))
        assert await messages(context, name) == kept


@pytest.mark.one_loop
async def test_results_of_a_record_between_others_have_ids_of_their_own(nats: Server, context: Any, name: str) -> None:
    QUEUE.publish(nats.url, name, [])
    sink = ToJetStream(nats.url, name, ids="orders")
    async with sink:
        for keys in ([1, 1], [2], [1, None], [1, None]):
            await sink.write([b"x"] * len(keys), keys)
    assert await messages(context, name) == 7


@pytest.mark.one_loop
async def test_a_sink_keeps_nothing_of_its_writes(nats: Server, name: str) -> None:
    QUEUE.publish(nats.url, name, [])
    sink = ToJetStream(nats.url, name)
    async with sink:
        for _ in range(20):
            await sink.write([b"x"])
        assert len(sink._connection._subs) == 1


@pytest.mark.one_loop
async def test_what_the_stream_refuses_is_said(nats: Server, context: Any, name: str) -> None:
    await context.add_stream(name=name, subjects=[name], max_msgs=5, discard=DiscardPolicy.NEW)
    with pytest.raises(SinkError, match="maximum messages exceeded"):
        await written(range(10), ToJetStream(nats.url, name, timeout=0.5))
    with pytest.raises(SinkError, match="no response from stream"):
        await written(range(10), ToJetStream(nats.url, f"{name}.nobody", timeout=0.5))


@pytest.mark.one_loop
async def test_a_sink_whose_server_hangs_is_given_up_in_time(nats: Server, name: str) -> None:
    QUEUE.publish(nats.url, name, [])

    async def feed() -> AsyncIterator[int]:
        yield 1
        nats.pause()
        yield 2

    try:
        with pytest.raises(SinkError, match=r"has not answered within 0\.5 s"):
            await written(feed(), ToJetStream(nats.url, name, timeout=0.5), source="stream")
    finally:
        nats.go_on()
