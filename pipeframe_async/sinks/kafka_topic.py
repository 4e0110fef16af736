"""`KafkaTopic`: results as records of a Kafka topic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.servers.kafka import EXTRA, QUIET, ended, named, quieter, reach, settings
from pipeframe_async.servers.reach import needed, positive
from pipeframe_async.sinks.values import as_json

MOST_SENT = 1_000
"""Records that are handed to the library before it is waited for. More are more memory, fewer are smaller requests."""
BATCH = 256 * 1024
"""Bytes of one request to a partition; one record may be larger. Larger is more memory, smaller waits more often."""

Pair = tuple[bytes | None, bytes | None]


class KafkaTopic:
    """Results as records of a Kafka topic: `sink = KafkaTopic(url, "prices")`. As a `dead_letter`, failures so.

    A list of results counts as delivered when the brokers have confirmed all of it, to as many replicas as the topic
    wants (`acks=all`); then their records are acked at their source. It is sent at once, and then waited for. What is
    sent again, because an answer was lost, the brokers know again (an idempotent producer), for as long as this sink is
    open; a program that was killed writes what was not acked again.

    Brokers that are away are waited for, `timeout` seconds long.

    Args:
        url: as of `pipeframe_async.feeds.KafkaTopic`.
        topic: its name.
        key: a result to the record's key, as `str`, `bytes` or None; records of one key are in one partition, in order.
            It runs with `encode`, in the workers. Default: without a key, to any partition. Failures have none.
        encode: a result to the record's value, in the workers; None deletes its key in a compacted topic. Default: as
            JSON. None: results are `str` or `bytes`.
        timeout: seconds that a write may take, all tries together; then it is a `SinkError`.
        options: of `aiokafka.AIOKafkaProducer`: TLS, SASL, `compression_type`.

    Raises:
        ConfigError: a value is wrong, or the extra `kafka` is not installed.

    Process: the parent, on the event loop; `encode` and `key` run in the workers.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        topic: str,
        *,
        key: Callable[[Any], bytes | str | None] | None = None,
        encode: Callable[[Any], bytes | str | None] | None = as_json,
        timeout: float = 30.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._name = f"KafkaTopic({named(url)}, {topic!r})"
        if not isinstance(topic, str) or not topic:
            raise ConfigError(f"{self._name}: topic={topic!r}: must be a name")
        if key is not None and not callable(key):
            raise ConfigError(f"{self._name}: key={key!r}: must be a function of one result")
        self._topic = topic
        self._timeout = positive(self._name, "timeout", timeout)
        self._quiet = min(QUIET, timeout)
        self._make = _producer(url, timeout, options or {})
        self._reach = reach(self._name)
        self._key = key
        self._encode = encode
        self._producer: Any = None
        self._open = ExitStack()

    def __repr__(self) -> str:
        return self._name

    @property
    def encode(self) -> Callable[[Any], Any] | None:
        """A result to a record's value; with its key, where it has one."""
        if self._key is None:
            return self._encode
        return partial(_pair, encode=self._encode, key=self._key)

    async def __aenter__(self) -> None:
        self._open.enter_context(quieter())
        try:
            await self._reach.reached(self._connect, self._timeout)
        except BaseException:
            await self._disconnect()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._disconnect()

    async def write(self, records: Sequence[Any]) -> None:
        """Send them; returns when the brokers have them."""
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                for start in range(0, len(records), MOST_SENT):
                    await self._write([self._raw(record) for record in records[start : start + MOST_SENT]])
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(f"{self._name}: not confirmed in {self._timeout:g} s") from error

    async def _write(self, pairs: Sequence[Pair]) -> None:
        sent: list[asyncio.Future[Any] | None] = [None] * len(pairs)
        try:
            await self._reach.reached(partial(self._send, pairs, sent))
        finally:
            for one in sent:
                if one is not None and not one.done():  # whatever comes of it, nobody asks any more
                    one.add_done_callback(_written)

    async def _connect(self) -> None:
        if self._producer is None:
            self._producer = self._make()
            try:
                await self._producer.start()
            except BaseException:
                await self._drop()
                raise

    async def _disconnect(self) -> None:
        try:
            await self._drop()
        finally:
            self._open.close()

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await ended(producer)

    async def _send(self, pairs: Sequence[Pair], sent: list[asyncio.Future[Any] | None]) -> None:
        """Send what is not on its way, and wait for the brokers' word. Called again, it sends nothing twice.

        But where a producer has failed: what it had is sent by another.
        """
        await self._connect()
        try:
            async with asyncio.timeout(self._quiet):  # a full batch waits until the one before it is through
                for index, (key, value) in enumerate(pairs):
                    if sent[index] is None:
                        sent[index] = await self._producer.send(self._topic, value, key)
            await self._confirmed([one for one in sent if one is not None])
        except needed("aiokafka.errors", EXTRA).KafkaError:
            sent[:] = [one if one is not None and _written(one) else None for one in sent]
            await self._drop()
            raise

    async def _confirmed(self, sent: Sequence[asyncio.Future[Any]]) -> None:
        """All of these are."""
        waiting = {one for one in sent if not one.done()}
        while waiting:
            done, waiting = await asyncio.wait(waiting, timeout=self._quiet)
            if not done:
                raise TimeoutError(f"{self._name}: no word of the brokers for {self._quiet:g} s")
        for one in sent:
            one.result()

    def _raw(self, record: Any) -> Pair:
        """What nobody has encoded, a failure for instance, is now."""
        if isinstance(record, tuple) and self._key is not None:
            return record
        if record is not None and not isinstance(record, (bytes, str)):
            record = as_json(record) if self._encode is None else self._encode(record)
        return None, _bytes(record)


def _written(sent: asyncio.Future[Any]) -> bool:
    return sent.done() and not sent.cancelled() and sent.exception() is None


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _pair(
    result: Any, *, encode: Callable[[Any], bytes | str | None] | None, key: Callable[[Any], bytes | str | None]
) -> Pair:
    return _bytes(key(result)), _bytes(result if encode is None else encode(result))


def _producer(url: str | Sequence[str], timeout: float, options: Mapping[str, Any]) -> Callable[[], Any]:
    """What makes one; raises here what is wrong with its options."""
    given = {
        "max_batch_size": BATCH,
        "request_timeout_ms": max(1, int(timeout * 1000)),
        **settings("AIOKafkaProducer", url, options),
        "enable_idempotence": True,
        "acks": "all",
    }
    return partial(needed("aiokafka", EXTRA).AIOKafkaProducer, **given)
