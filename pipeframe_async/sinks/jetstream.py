"""`JetStream`: results as messages of a NATS stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.servers.nats import EXTRA, checked, closed, connected, reach
from pipeframe_async.servers.reach import needed, positive
from pipeframe_async.sinks.values import as_json
from pipeframe_async.urls import shown

MOST_SENT = 1_000
"""Messages that are on their way at a time. More are more memory, fewer wait for the server more often."""


class JetStream:
    """Results as messages of a NATS stream: `sink = JetStream(url, "prices")`. As a `dead_letter`, failures so.

    A list of results counts as delivered when the server has confirmed all of it; then their records are acked at their
    source. A server that is away is tried again for `timeout` seconds. Where a record came with a key, its results have
    message ids made of that: the stream drops those it has had within its duplicate window.

    Args:
        url: as of `pipeframe_async.feeds.JetStream`.
        subject: of the messages; a stream has to take it.
        encode: a result to bytes, in the workers. Default: as JSON. None: results are `str` or `bytes`.
        timeout: seconds that a write may take, all tries together; then it is a `SinkError`.

    Raises:
        ConfigError: a value is wrong, or the extra `nats` is not installed.

    Process: the parent, on the event loop; `encode` runs in the workers.
    """

    def __init__(
        self, url: str, subject: str, *, encode: Callable[[Any], bytes | str] | None = as_json, timeout: float = 30.0
    ) -> None:
        self._name = f"JetStream({shown(url)!r}, {subject!r})"
        if not isinstance(subject, str) or not subject or {*subject} & {*" *>\t"}:
            raise ConfigError(f"{self._name}: subject={subject!r}: must be a subject without spaces, * and >")
        checked(url)
        self._url = url
        self._subject = subject
        self._encode = encode
        self._timeout = positive(self._name, "timeout", timeout)
        self._reach = reach(self._name)
        self._connection: Any = None
        self._last: tuple[object, int] = (None, 0)  # the key of the last result, and how many had it

    def __repr__(self) -> str:
        return self._name

    @property
    def encode(self) -> Callable[[Any], bytes | str] | None:
        """A result to a message's data."""
        return self._encode

    async def __aenter__(self) -> None:
        self._last = (None, 0)
        await self._reach.reached(self._connect, self._timeout)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await closed(self._connection)

    async def write(self, records: Sequence[Any], keys: Sequence[object] = ()) -> None:
        """Publish them; returns when the server has them."""
        sent = [(self._data(r), self._id(k)) for r, k in zip(records, keys or [None] * len(records), strict=True)]
        for start in range(0, len(sent), MOST_SENT):
            await self._reach.reached(partial(self._publish, sent[start : start + MOST_SENT]), self._timeout)

    async def _connect(self) -> None:
        if self._connection is not None and self._connection.is_connected:
            return
        before, self._connection = self._connection, await connected(self._url)
        if before is not None:
            await closed(before)

    async def _publish(self, messages: Sequence[tuple[bytes, str | None]]) -> None:
        await self._connect()
        context = self._connection.jetstream(publish_async_max_pending=MOST_SENT)
        header = needed("nats.js.api", EXTRA).Header.MSG_ID
        confirmed = [
            await context.publish_async(self._subject, data, headers=None if number is None else {header: number})
            for data, number in messages
        ]
        async with asyncio.timeout(5.0):
            await asyncio.gather(*confirmed)  # the server's word for each

    def _data(self, record: Any) -> bytes:
        """What nobody has encoded, a failure for instance, is now."""
        if not isinstance(record, (bytes, str)):
            record = as_json(record) if self._encode is None else self._encode(record)
        return record.encode() if isinstance(record, str) else record

    def _id(self, key: object) -> str | None:
        """Of the results of one record, each has another."""
        if key is None:
            return None
        self._last = (key, self._last[1] + 1 if self._last[0] == key else 0)
        return f"{key}.{self._last[1]}"
