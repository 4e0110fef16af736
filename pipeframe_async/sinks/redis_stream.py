"""`RedisStream`: results as entries of a Redis stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.servers.reach import shown
from pipeframe_async.servers.redis import client, reach
from pipeframe_async.sinks.values import as_json

MOST_SENT = 1_000
"""Entries of one request. More are more memory at once, fewer are more requests."""


class RedisStream:
    """Results as entries of a Redis stream: `sink = RedisStream(url, "prices")`. As a `dead_letter`, failures so.

    A list of results goes out in one request, and counts as delivered when the server has confirmed all of it; then
    their records are acked at their source. A server that is away is tried again for `timeout` seconds. What was on its
    way when it went may be there twice.

    Args:
        url: as of `pipeframe_async.feeds.RedisStream`.
        stream: its key.
        field: of an entry, that gets the result.
        encode: a result to bytes, in the workers. Default: as JSON. None: results are `str` or `bytes`.
        maxlen: about how many entries the stream keeps; None: all.
        timeout: seconds that a write may take, all tries together; then it is a `SinkError`.

    Raises:
        ConfigError: a value is wrong, or the extra `redis` is not installed.

    Process: the parent, on the event loop; `encode` runs in the workers.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        *,
        field: str = "data",
        encode: Callable[[Any], bytes | str] | None = as_json,
        maxlen: int | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._name = f"RedisStream({shown(url)!r}, {stream!r})"
        if not isinstance(stream, str) or not stream:
            raise ConfigError(f"{self._name}: stream={stream!r}: must be a name")
        if maxlen is not None and (not isinstance(maxlen, int) or maxlen < 1):
            raise ConfigError(f"{self._name}: maxlen={maxlen!r}: must be an int of at least 1, or None for all")
        client(url)
        self._url = url
        self._stream = stream
        self._field = field
        self._encode = encode
        self._maxlen = maxlen
        self._timeout = timeout
        self._reach = reach(self._name)
        self._client: Any = None

    def __repr__(self) -> str:
        return self._name

    @property
    def encode(self) -> Callable[[Any], bytes | str] | None:
        """A result to what the field gets."""
        return self._encode

    async def __aenter__(self) -> None:
        self._client = client(self._url)
        try:
            await self._reach.reached(self._client.ping, self._timeout)
        except BaseException:
            await self._client.aclose()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def write(self, records: Sequence[Any]) -> None:
        """Add them; returns when the server has them."""
        for start in range(0, len(records), MOST_SENT):
            some = [self._value(record) for record in records[start : start + MOST_SENT]]
            await self._reach.reached(partial(self._add, some), self._timeout)

    async def _add(self, values: Sequence[bytes | str]) -> None:
        pipe = self._client.pipeline(transaction=True)  # all of them, or none
        for value in values:
            pipe.xadd(self._stream, {self._field: value}, maxlen=self._maxlen)
        await pipe.execute()

    def _value(self, record: Any) -> bytes | str:
        """What nobody has encoded, a failure for instance, is now."""
        if isinstance(record, (bytes, str)):
            return record
        return as_json(record) if self._encode is None else self._encode(record)
