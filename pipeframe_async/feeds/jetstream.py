"""`JetStream`: the messages of a NATS stream, as one of those that pull from a durable consumer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds.live import MOST_FETCHED, Live
from pipeframe_async.feeds.queue import Message, Nack, Queue
from pipeframe_async.servers.nats import EXTRA, checked, closed, connected, reach
from pipeframe_async.servers.reach import needed, positive
from pipeframe_async.urls import shown

WAIT = 1.0
"""Seconds that a pull stands at the server. Longer holds up an end, shorter is idle traffic."""
PATIENCE = 5.0
"""Seconds beyond that in which the server must say something, or is away."""
SOON = ("503", "409 Leadership", "409 Server", "409 Exceeded MaxWaiting", "409 Consumer is paused")
"""Beginnings of what a server says that may give messages in a while. A consumer that is gone is found by `lag`."""
SECOND = 1_000_000_000
"""Of NATS, which counts in nanoseconds."""


class JetStream(Live[str]):
    """The messages of a NATS stream, for all that pull from a consumer: `feed = JetStream(url, "ORDERS", "billing")`.

    Each message is delivered at least once: it is acked when the sink has taken what it came to, or `dead_letter` its
    failure. What has had no answer for `lease` seconds, and no word that it is in progress, the server gives to others.
    A record that failed, and that no `dead_letter` has, is delivered again after 1, 2, 4 … seconds.

    The record is a message's data, decoded in the workers; its `key` is the sequence number in the stream.

    Args:
        url: `nats://user:password@host:4222`.
        stream: its name.
        durable: the consumer's name. Where it is not there it is made. Where it has another ack wait it gets this one,
            and any number of deliveries: what the server gives up would be in nobody's dead letter. One that pushes, or
            whose acks are not explicit, is refused.
        subject: where the stream is not there, it is made for this one. Of a stream with more, only these messages.
        decode: bytes to the record, in the workers; None leaves bytes.
        start: where a new consumer begins: `"all"` with what is there, `"new"` with what comes.
        lease: seconds, the consumer's ack wait; extended for as long as a record waits or is worked on.
        max_deliveries: of one record; then it is a failure of kind `"poison"`, for `dead_letter`, and the message is
            terminated. None: any number. A message that is handed back unbegun counts too.
        timeout: seconds that the first connection may take. Later ones may take any time.

    Raises:
        ConfigError: a value is wrong, or the extra `nats` is not installed.

    Process: the parent, on the event loop; `decode` runs in the workers.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        durable: str,
        *,
        subject: str | None = None,
        decode: Callable[[bytes], Any] | None = json.loads,
        start: str = "all",
        lease: float = 60.0,
        max_deliveries: int | None = 5,
        timeout: float = 10.0,
    ) -> None:
        name = f"JetStream({shown(url)!r}, {stream!r}, {durable!r})"
        for option, value in (("stream", stream), ("durable", durable)):
            if not isinstance(value, str) or not value or {*value} & {*". *>/\\\t"}:
                raise ConfigError(f"{name}: {option}={value!r}: must be a name without dots, spaces, * and >")
        if start not in ("all", "new"):
            raise ConfigError(f"{name}: start={start!r}: must be 'all' or 'new'")
        checked(url)
        super().__init__(
            _Consumer(url, stream, durable, subject, start, positive(name, "lease", lease), max_deliveries),
            reach(name),
            name=name,
            lease=lease,
            max_deliveries=max_deliveries,
            timeout=timeout,
        )
        self.decode = decode


class _Consumer(Queue[str]):
    """A durable consumer. A delivery is known by the subject that answers to it go to."""

    checks = False

    def __init__(
        self,
        url: str,
        stream: str,
        durable: str,
        subject: str | None,
        start: str,
        lease: float,
        max_deliveries: int | None,
    ) -> None:
        self._url = url
        self._of = (stream, durable)
        self._subject = subject
        self._start = start
        self._lease = lease
        self._most = max_deliveries
        self._opening = asyncio.Lock()
        self._connection: Any = None
        self._inbox = ""
        self._came: list[Any] = []
        self._due = 0  # messages that the last pull may still get
        self._most_asked = MOST_FETCHED  # at once
        self._refusal = ""
        self._news = asyncio.Event()

    async def open(self) -> None:
        """Connect, where that is not so; make stream and consumer where they are not there."""
        async with self._opening:
            if self._connection is not None and self._connection.is_connected:
                return
            made = await connected(self._url)
            try:
                await self._make(made)
                self._inbox = made.new_inbox()
                await made.subscribe(self._inbox, cb=self._heard, pending_msgs_limit=-1, pending_bytes_limit=-1)
            except BaseException:
                await closed(made)
                raise
            before, self._connection = self._connection, made
            self._came.clear()  # they are in the hands of a consumer that is gone, until their lease has run out
            self._due = 0
            if before is not None:
                await closed(before)

    async def _make(self, connection: Any) -> None:
        context = connection.jetstream()
        api, errors = needed("nats.js.api", EXTRA), needed("nats.js.errors", EXTRA)
        stream, durable = self._of
        if self._subject is not None:
            try:
                await context.stream_info(stream)
            except errors.NotFoundError:
                await context.add_stream(name=stream, subjects=[self._subject])
        wanted = api.ConsumerConfig(
            durable_name=durable,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=self._lease,
            max_ack_pending=-1,
            filter_subject=self._subject,
            deliver_policy=api.DeliverPolicy.ALL if self._start == "all" else api.DeliverPolicy.NEW,
        )
        try:
            found = (await _asked(connection, f"CONSUMER.INFO.{stream}.{durable}"))["config"]
        except errors.NotFoundError:
            await context.add_consumer(stream, wanted)
            return
        if (reason := _unfit(found, self._subject)) is not None:
            raise ConfigError(
                f"the consumer {durable!r} of {stream!r} is there already, and {reason}: name another one"
            )
        changed = {**found, "ack_wait": int(self._lease * SECOND), "max_deliver": -1}  # all else stays as it is
        changed.pop("backoff", None)
        if changed != found:
            asked = {"stream_name": stream, "config": changed}
            await _asked(connection, f"CONSUMER.DURABLE.CREATE.{stream}.{durable}", asked)

    async def _heard(self, message: Any) -> None:
        if message.reply:
            self._came.append(message)
            self._due -= 1
        else:  # a status: the server is done with what the pull asked for
            self._due = 0
            self._refusal = _refusal(message.headers or {})
            if (most := re.search(r"MaxRequestBatch of (\d+)", self._refusal)) is not None:
                self._most_asked, self._refusal = int(most[1]), ""
        self._news.set()

    async def fetch(self, most: int, known: Callable[[str], bool]) -> Sequence[Message[str]]:
        """What is there; where nothing is, the next message."""
        if not self._came:
            if self._due <= 0:  # else some of those that were asked for last are on their way
                await self._pull(min(most, self._most_asked))
            await self._some()
        came, self._came[:] = self._came[:most], self._came[most:]
        return [_message(one) for one in came]

    async def _pull(self, most: int) -> None:
        stream, durable = self._of
        self._due, self._refusal = most, ""
        asked = json.dumps({"batch": most, "expires": int(WAIT * SECOND)}).encode()
        await self._connection.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", asked, reply=self._inbox)

    async def _some(self) -> None:
        """Wait until something has come, or the server says that nothing has."""
        clock = asyncio.get_running_loop().time
        until = clock() + WAIT + PATIENCE
        while self._due > 0 and not self._came:
            if not self._connection.is_connected:
                raise ConnectionError("the connection was lost")
            if clock() >= until:
                self._due = 0
                raise TimeoutError(f"the server has said nothing for {WAIT + PATIENCE:g} s")
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT):
                    await self._news.wait()  # set by `_heard`
        if self._refusal and not self._came:
            if self._refusal.startswith(SOON):
                raise ConnectionError(self._refusal)
            raise ConfigError(f"the consumer cannot be pulled from: {self._refusal}")

    async def answer(self, acks: Sequence[str], nacks: Sequence[Nack[str]]) -> None:
        """A word for each, in as few packets as they fit in; and then it is asked whether they have come."""
        publish = self._connection.publish
        for token in acks:
            poison = self._most is not None and _deliveries(token) > self._most
            await publish(token, b"+TERM" if poison else b"+ACK")
        for token, pause, *_ in nacks:
            await publish(token, b'-NAK {"delay": %d}' % int(pause * SECOND))
        await self._flushed()

    async def extend(self, tokens: Sequence[str]) -> Iterable[str]:
        """Of all: the server does not say whose they are. Those that have come, and were not fetched, too."""
        for token in (*tokens, *(message.reply for message in self._came)):
            await self._connection.publish(token, b"+WPI")
        await self._flushed()
        return ()

    async def _flushed(self) -> None:
        connection = self._connection
        try:
            await connection.flush()
        except Exception:
            await closed(connection)  # an answer that comes after all would break it in the midst of other calls
            raise

    async def lag(self) -> int | None:
        """Messages that the consumer has not been given."""
        found = await self._connection.jetstream().consumer_info(*self._of)
        pending: int | None = found.num_pending
        return pending

    async def close(self, known: Callable[[str], bool]) -> None:
        """Hand back what came last, and disconnect."""
        if (opened := self._connection) is None:
            return
        self._connection = None
        self._opening, self._news = asyncio.Lock(), asyncio.Event()  # the next run may have another loop
        try:
            for message in self._came:
                await opened.publish(message.reply, b"-NAK")
            self._came.clear()
            await opened.flush()
        finally:
            await closed(opened)


async def _asked(connection: Any, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the server replies to a request; its library drops the settings that it does not know."""
    asked = b"" if body is None else json.dumps(body).encode()
    reply: dict[str, Any] = json.loads((await connection.request(f"$JS.API.{what}", asked, timeout=PATIENCE)).data)
    if (error := reply.get("error")) is not None:
        needed("nats.js.errors", EXTRA).APIError.from_error(error)  # raises it
    return reply


def _unfit(config: Mapping[str, Any], subject: str | None) -> str | None:
    """Why records of a consumer that somebody else has made could be lost, or never come."""
    if to := config.get("deliver_subject"):
        return f"pushes its messages to {to!r}, and is not for pulling"
    if (policy := config.get("ack_policy")) != "explicit":
        return f"its ack policy is {policy!r}, not 'explicit': what is not finished would count as acked"
    filters = config.get("filter_subjects") or [config.get("filter_subject")]
    return None if subject is None or filters == [subject] else f"is for the subjects {filters}, not for {subject!r}"


def _refusal(headers: Mapping[str, str]) -> str:
    """What a status says, unless that is that there are no messages."""
    status = headers.get("Status", "")
    said = next((value for name, value in headers.items() if getattr(name, "value", name) == "Description"), "")
    return "" if status in ("404", "408") else f"{status} {said}".strip()


def _message(message: Any) -> Message[str]:
    token: str = message.reply
    return Message(token, int(token.split(".")[-4 if token.count(".") == 8 else -5]), message.data, _deliveries(token))


def _deliveries(token: str) -> int:
    """`$JS.ACK.stream.consumer.deliveries.…`, or with a domain and an account before the stream, and more behind."""
    parts = token.split(".")
    return int(parts[4] if len(parts) == 9 else parts[6])
