"""`RedisStream`: the entries of a Redis stream, as a consumer of a group."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds.live import Live
from pipeframe_async.feeds.queue import Message, Nack, Queue
from pipeframe_async.servers.reach import positive
from pipeframe_async.servers.redis import client, reach
from pipeframe_async.urls import shown

WAIT = 1.0
"""Seconds that a read waits for entries. Longer delays what others have left, shorter is idle traffic."""
PAGE = 1_000
"""Pending entries looked at in one request."""
OURS = "pipeframe-"
"""What names of consumers begin with that nobody has given."""
BENCH = f"{OURS}bench"
"""The consumer that has what was handed back, until somebody claims it."""
DEAD = 3_600_000
"""Milliseconds after which a consumer is dead that asks once a second when it lives."""

EXTEND = """
local lost = {}
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""
"""Of the entries named behind group and consumer, those that are still this consumer's begin their idle time anew; the
others are returned. A script, because between a look and a claim they could become another's."""
REMOVE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
"""
"""A script, because what is pending when a consumer is removed is lost: a read that was given up may still be answered
between a look and the removal."""


ACK = """
local ids = {}
for id in string.gmatch(ARGV[2], '%S+') do ids[#ids + 1] = id end
return redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
"""
"""XACK of ids in one argument: to pack one each would cost the event loop as much as all the rest of an ack."""


class RedisStream(Live[bytes]):
    """The entries of a Redis stream, for a group of consumers: `feed = RedisStream(url, "orders", "billing")`.

    Each record is delivered at least once: it is acked when the sink has taken what it came to, or `dead_letter` its
    failure. What a consumer has left without an answer for `lease` seconds is taken over by the others. A record that
    failed, and that no `dead_letter` has, is delivered again after 1, 2, 4 … seconds.

    The record is what is in one field of the entry, decoded in the workers; its `key` is the entry's id.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://` for TLS, `unix://` for a socket.
        stream: its key. Where it is not there it is made, empty.
        group: the consumers that share the entries. Where it is not there it is made, and begins at `start`.
        consumer: this one's name; no two at the same time may have the same. Default: made of host, process and chance.
        field: that the record is in; None: the record is the whole entry, as a dict.
        decode: bytes of the field to the record, in the workers; None leaves bytes. With `field=None` names and values
            are decoded as UTF-8, and this is not used. An entry without the field is that record's failure.
        start: where a new group begins: `"0"` with what is there, `"$"` with what comes.
        lease: seconds; extended for as long as a record waits or is worked on. Others take over what a dead consumer
            had after this.
        max_deliveries: of one record; then it is a failure of kind `"poison"`, for `dead_letter`. None: any number.
        timeout: seconds that the first connection may take. Later ones may take any time.

    Raises:
        ConfigError: a value is wrong, or the extra `redis` is not installed.

    Process: the parent, on the event loop; `decode` runs in the workers.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        group: str,
        *,
        consumer: str | None = None,
        field: str | None = "data",
        decode: Callable[[bytes], Any] | None = json.loads,
        start: str = "0",
        lease: float = 60.0,
        max_deliveries: int | None = 5,
        timeout: float = 10.0,
    ) -> None:
        name = f"RedisStream({shown(url)!r}, {stream!r}, {group!r})"
        for option, value in (("stream", stream), ("group", group)):
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{name}: {option}={value!r}: must be a name")
        client(url)
        super().__init__(
            _Group(url, stream, group, consumer, field, start, positive(name, "lease", lease)),
            reach(name),
            name=name,
            lease=lease,
            max_deliveries=max_deliveries,
            timeout=timeout,
        )
        self._field = field
        self._decode = decode

    @property
    def decode(self) -> Callable[[Any], Any] | None:
        """What is in an entry to the record."""
        if self._field is None:
            return _texts
        return partial(_decoded, decode=self._decode or bytes, field=self._field)


def _texts(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {str(name, "utf-8"): str(value, "utf-8") for name, value in fields.items()}


def _decoded(raw: bytes | dict[bytes, bytes], *, decode: Callable[[bytes], Any], field: str) -> Any:
    if isinstance(raw, dict):
        raise KeyError(f"the entry has no field {field!r}; it has {', '.join(str(n, 'utf-8', 'replace') for n in raw)}")
    return decode(raw)


class _Group(Queue[bytes]):
    """A consumer of a group. What it hands back goes to `BENCH`, another one, which nobody is."""

    def __init__(
        self, url: str, stream: str, group: str, consumer: str | None, field: str | None, start: str, lease: float
    ) -> None:
        self._url = url
        self._of = (stream, group)
        self._named = consumer is not None
        self._consumer = consumer or f"{OURS}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._field = None if field is None else field.encode()
        self._start = start
        self._lease = int(lease * 1000)
        self._client: Any = None
        self._extend: Any = None
        self._remove: Any = None
        self._ack: Any = None
        self._claims = True  # the server has XAUTOCLAIM
        self._opened = False
        self._unsure = True  # whether all that is pending here is known here
        self._claim_at = 0.0
        self._cursor: bytes = b"0-0"

    async def open(self) -> None:
        """Connect; make stream and group where they are not there, and remove consumers that died long ago."""
        if self._client is None:
            self._client = client(self._url)
            scripts = (EXTEND, REMOVE, ACK)
            self._extend, self._remove, self._ack = map(self._client.register_script, scripts)
        stream, group = self._of
        try:
            await self._client.xgroup_create(stream, group, id=self._start, mkstream=True)
        except Exception as error:
            if "BUSYGROUP" not in str(error):
                raise
        if not self._opened:
            await self.extend(())  # a user that may not run scripts is told so now, and not when the first lease is old
            for consumer in await self._client.xinfo_consumers(stream, group):
                if consumer["name"].startswith(OURS.encode()) and not consumer["pending"] and consumer["idle"] > DEAD:
                    await self._remove(keys=[stream], args=[group, consumer["name"]])
        self._unsure = True

    async def fetch(self, most: int, known: Callable[[bytes], bool]) -> Sequence[Message[bytes]]:
        """What this consumer was given and did not hear of; what others have left; what is new."""
        if self._unsure:
            if found := await self._unheard(most, known):
                return found
            self._unsure, self._opened = False, True
        if time.monotonic() >= self._claim_at and (found := await self._left(most, known)):
            return found
        stream, group = self._of
        options = ("GROUP", group, self._consumer, "COUNT", most, "BLOCK", int(WAIT * 1000), "STREAMS", stream, ">")
        reply = await self._client.execute_command("XREADGROUP", *options)
        return [self._message(entry, 1) for _, entries in reply or () for entry in entries]

    def _message(self, entry: Any, deliveries: int) -> Message[bytes]:
        token, fields = entry
        if fields[0] == self._field:  # the usual case
            return Message(token, str(token, "ascii"), fields[1], deliveries)
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        return Message(token, str(token, "ascii"), named.get(self._field, named), deliveries)

    async def _unheard(self, most: int, known: Callable[[bytes], bool]) -> list[Message[bytes]]:
        """Pending entries of this consumer that it does not know of: a reply was lost, or an earlier life had them.

        Those of an earlier life are delivered once more by this.
        """
        for page in await self._pages():
            unknown = {token: deliveries for token, deliveries in page.items() if not known(token)}
            if not unknown:
                continue
            found: list[Message[bytes]] = []
            for count in sorted({*unknown.values()}):
                tokens = [token for token, deliveries in unknown.items() if deliveries == count][: most - len(found)]
                deliveries = count if self._opened else count + 1
                if tokens:
                    entries = await self._claimed(0, tokens, "RETRYCOUNT", deliveries)
                    found += [self._message(entry, deliveries) for entry in entries]
            if found:
                return found
        return []

    async def _pages(self) -> list[dict[bytes, int]]:
        """What is pending here, with how often each was delivered."""
        pages, after = list[dict[bytes, int]](), "-"
        while rows := await self._pending(after, PAGE, self._consumer):
            pages.append({token: deliveries for token, _, _, deliveries in rows})
            after = f"({str(rows[-1][0], 'ascii')}"
        return pages

    async def _pending(self, after: str, most: int, *consumer: str) -> list[Any]:
        rows: list[Any] = await self._client.execute_command("XPENDING", *self._of, after, "+", most, *consumer)
        return rows

    async def _claimed(self, idle: int, tokens: Sequence[bytes], *options: object) -> list[Any]:
        """Entries that are this consumer's from now on; what was deleted meanwhile is acked."""
        reply = await self._client.execute_command("XCLAIM", *self._of, self._consumer, idle, *tokens, *options)
        entries = [entry for entry in reply if entry is not None and entry[1] is not None]
        if idle == 0 and (gone := {*tokens} - {token for token, _ in entries}):
            await self._client.xack(*self._of, *gone)
        return entries

    async def _left(self, most: int, known: Callable[[bytes], bool]) -> list[Message[bytes]]:
        """Entries that nobody has answered for their lease, one page of them."""
        entries = await self._old(most)
        if self._cursor == b"0-0":
            self._claim_at = time.monotonic() + WAIT
        entries = [entry for entry in entries if entry is not None and entry[1] is not None and not known(entry[0])]
        if not entries:
            return []
        pipe = self._client.pipeline(transaction=False)
        for token, _ in entries:
            pipe.execute_command("XPENDING", *self._of, token, token, 1)
        counts = [rows[0][3] if rows else 1 for rows in await pipe.execute()]
        return [self._message(entry, count) for entry, count in zip(entries, counts, strict=True)]

    async def _old(self, most: int) -> list[Any]:
        """Claim those that are old, from the cursor on."""
        if self._claims:
            command = (*self._of, self._consumer, self._lease, self._cursor, "COUNT", most)
            try:
                reply = await self._client.execute_command("XAUTOCLAIM", *command)
            except Exception as error:
                if "unknown command" not in str(error):
                    raise
                self._claims = False  # before Redis 6.2
            else:
                self._cursor, entries, *_ = reply
                return list(entries)
        after = "-" if self._cursor == b"0-0" else f"({str(self._cursor, 'ascii')}"
        rows = await self._pending(after, PAGE)
        old = [token for token, _, idle, _ in rows if idle >= self._lease][:most]
        if len(old) == most:
            self._cursor = old[-1]
        else:
            self._cursor = b"0-0" if len(rows) < PAGE else rows[-1][0]
        return await self._claimed(self._lease, old) if old else []

    async def answer(self, acks: Sequence[bytes], nacks: Sequence[Nack[bytes]]) -> None:
        """Ack, and put back."""
        if acks:
            await self._ack(keys=[self._of[0]], args=[self._of[1], b" ".join(acks)])
        if nacks:
            pipe = self._client.pipeline(transaction=False)
            self._put_back(pipe, nacks)
            await pipe.execute()

    def _put_back(self, pipe: Any, nacks: Sequence[Nack[bytes]]) -> None:
        """They are on the bench, where they have been for as long as makes them anybody's after their pause."""
        alike: dict[tuple[int, int], list[bytes]] = {}
        for token, pause, begun, deliveries in nacks:
            idle = max(0, self._lease - int(pause * 1000))
            alike.setdefault((idle, deliveries if begun else deliveries - 1), []).append(token)
        for (idle, count), tokens in alike.items():
            options = ("IDLE", idle, "RETRYCOUNT", count, "JUSTID")
            pipe.execute_command("XCLAIM", *self._of, BENCH, 0, *tokens, *options)

    async def extend(self, tokens: Sequence[bytes]) -> Iterable[bytes]:
        """Of those that are still this consumer's."""
        lost: list[bytes] = await self._extend(keys=[self._of[0]], args=[self._of[1], self._consumer, *tokens])
        return lost

    async def lag(self) -> int | None:
        """Entries that the group has not been given; known from Redis 7 on."""
        for group in await self._client.execute_command("XINFO", "GROUPS", self._of[0]):
            named = dict(zip(group[::2], group[1::2], strict=True))
            if named[b"name"] == self._of[1].encode():
                lag: int | None = named.get(b"lag")
                return lag
        return None

    async def close(self, known: Callable[[bytes], bool]) -> None:
        """Hand back what was not heard of; remove the consumer, where it has nothing and nobody has named it."""
        if self._client is None:
            return
        try:
            pages = await self._pages()
            pipe = self._client.pipeline(transaction=False)
            rest = [Nack(token, 0.0, False, count) for page in pages for token, count in page.items()]
            self._put_back(pipe, [nack for nack in rest if not known(nack.token)])
            await pipe.execute()
            if not self._named:
                await self._remove(keys=[self._of[0]], args=[self._of[1], self._consumer])
        finally:
            opened, self._client, self._opened = self._client, None, False
            await opened.aclose()
