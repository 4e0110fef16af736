"""`JetStream`: results as messages of a NATS stream."""

from __future__ import annotations

import asyncio
import json
import secrets
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
MOST_COUNTED = 10_000
"""Keys of which it is known how many results had them. Fewer may take a late result for the first, more are memory."""
PATIENCE = 5.0
"""Seconds in which the server must confirm something of what is on its way, or is away."""


class JetStream:
    """Results as messages of a NATS stream: `sink = JetStream(url, "prices")`. As a `dead_letter`, failures so.

    A list of results counts as delivered when the server has confirmed all of it; then their records are acked at their
    source. A server that is away is tried again for `timeout` seconds; message ids let the stream drop what it has
    already, if that is within its duplicate window.

    Args:
        url: as of `pipeframe_async.feeds.JetStream`.
        subject: of the messages; a stream has to take it.
        encode: a result to bytes, in the workers. Default: as JSON. None: results are `str` or `bytes`.
        ids: what the message ids begin with; they go on with the `Delivery.key` of a result's record, so that a record
            that is delivered twice is in the stream once. No two sources that write into one stream may have the same:
            the keys of a stream, a table or a file begin anew in another, and what has an id that was there is dropped.
            Default: ids of this object's own, for what is published again because the server was away.
        timeout: seconds that a write may take, all tries together; then it is a `SinkError`.

    Raises:
        ConfigError: a value is wrong, or the extra `nats` is not installed.

    Process: the parent, on the event loop; `encode` runs in the workers.
    """

    def __init__(
        self,
        url: str,
        subject: str,
        *,
        encode: Callable[[Any], bytes | str] | None = as_json,
        ids: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._name = f"JetStream({shown(url)!r}, {subject!r})"
        if not isinstance(subject, str) or not subject or {*subject} & {*" *>\t"}:
            raise ConfigError(f"{self._name}: subject={subject!r}: must be a subject without spaces, * and >")
        if ids is not None and (not isinstance(ids, str) or not ids or not ids.isprintable()):
            raise ConfigError(f"{self._name}: ids={ids!r}: must be a text, or None for ids of its own")
        checked(url)
        self._url = url
        self._subject = subject
        self._encode = encode
        self._timeout = positive(self._name, "timeout", timeout)
        self._reach = reach(self._name)
        self._connection: Any = None
        self._ids = ids
        self._own = secrets.token_hex(8)
        self._sent = 0  # messages, each try of one; the number is the end of where its confirmation goes
        self._inbox = ""
        self._unconfirmed: set[int] = set()
        self._refused: Exception | None = None
        self._news = asyncio.Event()
        self._made = 0  # ids of its own
        self._counts: dict[str, int] = {}  # results that had the key, of the last keys

    def __repr__(self) -> str:
        return self._name

    @property
    def encode(self) -> Callable[[Any], bytes | str] | None:
        """A result to a message's data."""
        return self._encode

    async def __aenter__(self) -> None:
        self._counts.clear()
        self._news = asyncio.Event()  # of this run's loop
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
        made = await connected(self._url)
        try:
            self._inbox = made.new_inbox()
            await made.subscribe(f"{self._inbox}.*", cb=self._heard, pending_msgs_limit=-1, pending_bytes_limit=-1)
        except BaseException:
            await closed(made)
            raise
        before, self._connection = self._connection, made
        if before is not None:
            await closed(before)

    async def _publish(self, messages: Sequence[tuple[bytes, str]]) -> None:
        await self._connect()
        header = needed("nats.js.api", EXTRA).Header.MSG_ID
        self._unconfirmed, self._refused = set(), None
        for data, number in messages:
            self._sent += 1
            self._unconfirmed.add(self._sent)
            reply = f"{self._inbox}.{self._sent}"
            await self._connection.publish(self._subject, data, reply=reply, headers={header: number})
        while self._unconfirmed and self._refused is None:
            if not self._connection.is_connected:
                raise ConnectionError("the connection was lost")
            self._news.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._news.wait()  # set by `_heard`
            except TimeoutError:
                raise TimeoutError(f"the server has confirmed nothing for {PATIENCE:g} s") from None
        if self._refused is not None:
            raise self._refused

    async def _heard(self, message: Any) -> None:
        """The server's word for a message of this try, or of one before."""
        number = int(message.subject.rpartition(".")[2])
        if number not in self._unconfirmed:
            return
        try:
            _check(message)
        except Exception as error:
            self._refused = error
        self._unconfirmed.discard(number)
        if not self._unconfirmed or self._refused is not None or len(self._unconfirmed) % 100 == 0:
            self._news.set()

    def _data(self, record: Any) -> bytes:
        """What nobody has encoded, a failure for instance, is now."""
        if not isinstance(record, (bytes, str)):
            record = as_json(record) if self._encode is None else self._encode(record)
        return record.encode() if isinstance(record, str) else record

    def _id(self, key: object) -> str:
        """Of the results of one record, each has another."""
        if key is None or self._ids is None:
            self._made += 1
            return f"{self._own}.{self._made}"
        of = f"{self._ids}.{key}"
        count = self._counts.pop(of, 0)  # they come in portions where there are many, and others' between them
        self._counts[of] = count + 1
        if len(self._counts) > MOST_COUNTED:
            del self._counts[next(iter(self._counts))]
        return f"{of}.{count}"


def _check(message: Any) -> None:
    """Raise what a confirmation says that is none."""
    errors = needed("nats.js.errors", EXTRA)
    if not message.data:  # nobody has got the message
        raise errors.NoStreamResponseError
    if (error := json.loads(message.data).get("error")) is not None:
        errors.APIError.from_error(error)  # raises it
