"""Kafka: clients that reconnect by themselves, which errors mean that the brokers are away, and how they are ended."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from inspect import signature
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeframe_async.errors import ConfigError
from pipeframe_async.servers.reach import Reach, needed
from pipeframe_async.urls import shown

EXTRA = "kafka"
QUIET = 5.0
"""Seconds in which a broker has said something, or is away."""
PARTING = 2.0
"""Seconds that a client has to take its leave. Longer holds up an end whose brokers are away."""
BACKOFF = 300
"""Milliseconds between two tries of a client. More makes a rebalance slower, fewer keep a dead broker busy."""
SAID_AGAIN = 60.0
"""Seconds before the client's library logs again what it has said already."""
OURS = (
    "acks",
    "auto_offset_reset",
    "bootstrap_servers",
    "enable_auto_commit",
    "enable_idempotence",
    "group_id",
    "heartbeat_interval_ms",
    "key_deserializer",
    "key_serializer",
    "loop",
    "max_poll_interval_ms",
    "session_timeout_ms",
    "transactional_id",
    "value_deserializer",
    "value_serializer",
)
"""Options of the library that are not to be had: what is promised rests on them."""


def named(url: str | Sequence[str]) -> str:
    """Brokers, for messages."""
    urls = [url] if isinstance(url, str) else [*url]
    return repr(shown(urls[0])) if len(urls) == 1 else repr([shown(one) for one in urls])


def settings(made: str, url: str | Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """What a client of that name gets.

    Args:
        made: `AIOKafkaConsumer` or `AIOKafkaProducer`.
        url: `kafka://host:9092`, with commas between hosts where there are more, or several of those.
        options: of the library.

    Raises:
        ConfigError: one of them is wrong, or the library is missing.
    """
    known = signature(getattr(needed("aiokafka", EXTRA), made)).parameters.keys()
    if refused := sorted(name for name in options if name in OURS or name not in known):
        raise ConfigError(
            f"{named(url)}: options of aiokafka's {made} that are not there for you: {', '.join(refused)}"
        )
    settings: dict[str, Any] = {"bootstrap_servers": [], "retry_backoff_ms": BACKOFF}
    for one in [url] if isinstance(url, str) else url:
        parts = urlsplit(one if "://" in one else f"kafka://{one}")
        if parts.scheme != "kafka" or not parts.hostname or parts.query or parts.path.strip("/"):
            raise ConfigError(f"{shown(one)!r} is no URL of Kafka brokers: write kafka://host:9092")
        settings["bootstrap_servers"] += parts.netloc.rpartition("@")[2].split(",")
        if parts.username is not None:
            named_by = {"sasl_plain_username": parts.username, "sasl_plain_password": parts.password or ""}
            settings |= {name: unquote(text) for name, text in named_by.items()}
            settings["security_protocol"] = "SASL_PLAINTEXT"
    settings |= options
    if str(settings.get("security_protocol", "")).endswith("SSL") and "ssl_context" not in settings:
        settings["ssl_context"] = ssl.create_default_context()
    return settings


def reach(name: str) -> Reach:
    """Whether the brokers are there."""
    errors = needed("aiokafka.errors", EXTRA)

    def away(error: BaseException) -> bool:
        if isinstance(error, errors.KafkaError):
            # One of no class of its own is what the library did not expect: a new client may fare better.
            return error.retriable or type(error) in (errors.KafkaError, errors.KafkaTimeoutError)
        return isinstance(error, (OSError, TimeoutError))

    return Reach(name, away, extra=EXTRA)


async def ended(client: Any) -> None:
    """A consumer or producer is stopped; where the brokers hold that up, it is cut off from them.

    Cancellation: it is cut off.
    """
    flushing: list[asyncio.Future[Any]] = []
    if (unsent := getattr(client, "_message_accumulator", None)) is not None:
        unsent.close = _remembered(unsent.close, flushing)
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait([stopping], timeout=PARTING)
    finally:
        if not stopping.done():
            await _cut_off(client)
            await _over([stopping])
        await _over(flushing)
    if not stopping.cancelled() and (problem := stopping.exception()) is not None:
        raise problem


def _remembered(call: Callable[[], Awaitable[None]], tasks: list[asyncio.Future[Any]]) -> Callable[[], Awaitable[None]]:
    """As it is; but the task that it is run in, which the library leaves to itself, is one of these."""

    async def called() -> None:
        if (task := asyncio.current_task()) is not None:
            tasks.append(task)
        await call()

    return called


async def _cut_off(client: Any) -> None:
    """End its tasks, which wait for requests that may take a minute; the library has no call for that."""
    core = getattr(client, "_client", None) or client.client
    parts = (getattr(client, name, None) for name in ("_coordinator", "_fetcher", "_sender"))
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_fetch_task", "_sender_task")
    tasks = [task for part in parts for name in names if (task := getattr(part, name, None)) is not None]
    with suppress(Exception):
        await core.close()  # what waits for an answer has one
    await _over(tasks)
    with suppress(Exception):
        await core.close()  # and what was opened meanwhile is closed


async def _over(tasks: list[asyncio.Future[Any]]) -> None:
    """They are cancelled, and waited for."""
    for _ in range(3):  # some catch the first one
        if waiting := [task for task in tasks if not task.done()]:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting, timeout=PARTING / 2)


class _Repeated(logging.Filter):
    """Drops what was said a moment ago: the library logs each of its tries."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is news."""
        what, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._said.get(what, -SAID_AGAIN) < SAID_AGAIN:
            return False
        self._said[what] = now
        return True


@contextmanager
def quieter() -> Iterator[None]:
    """While it is open, the library's loggers say the same thing once a minute; `Reach` tells what has to be told."""
    name, said = "aiokafka", _Repeated()
    loggers = [logging.getLogger(each) for each in [*logging.root.manager.loggerDict] if each.startswith(name)]
    for one in loggers:
        one.addFilter(said)
    try:
        yield
    finally:
        for one in loggers:
            one.removeFilter(said)
