"""A consumer of a Kafka group: its partitions, as they are dealt; what of them is out, final and committed.

Comes in: what aiokafka fetches, and answers in any order. Goes out: messages, and commits. It must not know who takes
them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from heapq import heappop, heappush
from typing import Any

from pipeframe_async.feeds.offsets import Offsets
from pipeframe_async.feeds.queue import Message, Nack, Queue
from pipeframe_async.servers.kafka import EXTRA, PARTING, QUIET, ended, quieter
from pipeframe_async.servers.reach import needed

logger = logging.getLogger("pipeframe_async")

WAIT = 1.0
"""Seconds that a fetch waits for records. Longer holds up an end, shorter is idle traffic."""
MOST_PAUSED = 10_000
"""Records that failed and wait to be delivered again, in memory; nothing new is fetched beyond. More are more memory,
fewer hold up the others."""
SETTLING = 5.0
"""Seconds that others wait, in a rebalance, for what is in flight here. Longer holds up the group, shorter gives more
records to two."""
WIDTH = 64
"""Bits of an offset in a token. A token is one number, and not a tuple: there is one for each record, and the collector
of garbage looks at tuples."""


def _token(place: int, offset: int) -> int:
    """What a delivery is known by."""
    return (place << WIDTH) + offset


def _offset(token: int) -> int:
    return token & (1 << WIDTH) - 1


async def _nobody(tokens: Collection[int], patience: float) -> None:
    """Where no source has asked to be told."""


class Group(Queue[int]):
    """A consumer of a group.

    The library calls `_revoked` in a task of its own, in the middle of anything; all else is called by the source. What
    the library has given is in the books before the loop turns.
    """

    def __init__(self, topic: str, keyed: bool, session: float, make: Callable[[], Any]) -> None:
        self._topic = topic
        self._keyed = keyed
        self._settling = min(SETTLING, session / 3)
        self._make = make
        self._opening = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._consumer: Any = None
        self._open = ExitStack()
        self._broken = False  # the consumer is of no use any more
        self._telling: asyncio.Future[None] | None = None  # a commit that is under way
        self._assignment = 0
        self._dealing = True  # what the library says of partitions is of the assignment before
        self._books: dict[int, Offsets[Message[int]]] = {}  # by place
        self._failures: dict[str, int] = {}  # by key: deliveries of what has failed, until it is final
        self._paused: list[tuple[float, int]] = []  # a heap: failed, and delivered again then
        self._pausing: set[int] = set()  # what is in it
        self.withdraw: Callable[[Collection[int], float], Awaitable[None]] = _nobody

    async def open(self) -> None:
        """Join the group; where that is so, ask the brokers whether they are there."""
        async with self._opening:
            if self._consumer is not None and not self._broken:
                await self._ends()
                return
            if self._consumer is not None:
                await self._revoked(0.0)
                await self._end()
            consumer = self._make()
            consumer.subscribe([self._topic], listener=self._listener())
            self._open.enter_context(quieter())
            self._consumer, self._broken = consumer, True
            await consumer.start()
            self._broken = False

    def _listener(self) -> Any:
        """Of rebalances; its class is known where the library is."""

        async def revoked(listener: object, partitions: object) -> None:
            await self._revoked(self._settling)

        def assigned(listener: object, partitions: object) -> None:
            self._dealing = False

        members = {"on_partitions_revoked": revoked, "on_partitions_assigned": assigned}
        return type("Listener", (needed("aiokafka.abc", EXTRA).ConsumerRebalanceListener,), members)()

    async def _revoked(self, patience: float) -> None:
        """The group is dealt its partitions anew: what is in flight is waited for, what is final is committed."""
        self._dealing = True
        given = [_token(place, offset) for place, book in self._books.items() for offset in book.open]
        await self.withdraw(given, patience)
        with suppress(Exception):  # who is told too late is out of the group already
            await self._commit()
        await self._hush()
        self._forget()

    def _place(self, partition: Any) -> int:
        """A partition in this assignment. The same one has another place in the next: late answers find no book."""
        at: int = partition.partition
        return (self._assignment << 32) + at

    def _key(self, token: int) -> str:
        return f"{self._topic}-{token >> WIDTH & 0xFFFF_FFFF}-{_offset(token)}"

    def _forget(self) -> None:
        """This assignment is over."""
        self._assignment += 1
        self._books.clear()
        self._paused.clear()
        self._pausing.clear()

    @property
    def _joined(self) -> Any:
        """The consumer. Another task may be making it just now, or have found that it is of no use."""
        if self._consumer is None or self._broken:
            raise ConnectionError("the group has to be joined again")
        return self._consumer

    async def fetch(self, most: int, known: Callable[[int], bool]) -> Sequence[Message[int]]:
        """What has failed and paused; else what is new, waiting for it."""
        if again := self._due(most, known):
            return again
        due = self._paused[0][0] - time.monotonic() if self._paused else WAIT
        wait = min(WAIT, due) if due > 0 else WAIT
        if len(self._paused) >= MOST_PAUSED:
            await asyncio.sleep(wait)
            return ()
        try:
            came = await self._joined.getmany(timeout_ms=max(1, int(wait * 1000)), max_records=most)
        except needed("aiokafka.errors", EXTRA).KafkaError:
            self._broken = True  # it may have dropped records of other partitions, and be past them
            raise
        if not came:
            if wait == WAIT:
                await self._ends()  # or are they away?
            return ()
        return [message for partition, records in came.items() for message in self._entered(partition, records)]

    def _entered(self, partition: Any, records: Sequence[Any]) -> list[Message[int]]:
        """They are in the books."""
        place = self._place(partition)
        if (book := self._books.get(place)) is None:
            book = self._books[place] = Offsets(records[0].offset)
        begin, named, failures = _token(place, 0), f"{self._topic}-{partition.partition}-", self._failures
        messages = {}
        for record in records:
            offset, raw = record.offset, (record.key, record.value) if self._keyed else record.value
            key = f"{named}{offset}"
            messages[offset] = Message(begin + offset, key, raw, failures.get(key, 1) if failures else 1)
        book.given(messages)
        return [*messages.values()]

    def _due(self, most: int, known: Callable[[int], bool]) -> list[Message[int]]:
        """What has paused for long enough; not what is known, for its answer is still under way."""
        found, now = list[Message[int]](), time.monotonic()
        while self._paused and self._paused[0][0] <= now and len(found) < most and not self._dealing:
            if known(self._paused[0][1]):
                break
            token = heappop(self._paused)[1]
            self._pausing.discard(token)
            out, offset, key = self._books[token >> WIDTH].open, _offset(token), self._key(token)
            out[offset] = again = Message(token, key, out[offset].record, self._failures.get(key, 1))
            found.append(again)
        return found

    async def answer(self, acks: Sequence[int], nacks: Sequence[Nack[int]]) -> None:
        """Commit how far all is final."""
        books, failures = self._books, self._failures
        for token in acks:
            if (book := books.get(token >> WIDTH)) is not None:
                book.final(_offset(token))
            if failures:
                failures.pop(self._key(token), None)
        for token, pause, begun, deliveries in nacks:
            if token >> WIDTH in books and token not in self._pausing:
                failures[self._key(token)] = deliveries + begun
                self._pausing.add(token)
                heappush(self._paused, (time.monotonic() + pause, token))
        await self._commit()

    async def _commit(self) -> None:
        """One request, where anything has moved; and the one before, where that is still under way."""
        async with self._committing:
            await self._told()
            moved = [(at, mark, book) for at, book in self._books.items() if (mark := book.watermark) > book.committed]
            if moved and self._consumer is not None:
                self._telling = asyncio.ensure_future(self._tell(self._consumer, moved))
                await self._told()

    async def _tell(self, consumer: Any, moved: Sequence[tuple[int, int, Offsets[Message[int]]]]) -> None:
        partition, errors = needed("aiokafka", EXTRA).TopicPartition, needed("aiokafka.errors", EXTRA)
        with suppress(errors.CommitFailedError, errors.IllegalStateError):  # the partitions are others' by now
            await consumer.commit({partition(self._topic, place & 0xFFFF_FFFF): mark for place, mark, _ in moved})
            for _, mark, book in moved:
                book.committed = mark

    async def _told(self) -> None:
        """What is under way has come, or the brokers are away. It is not cancelled: the library goes on with it."""
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=QUIET)
            if not self._telling.done():
                raise TimeoutError(f"no word of the brokers for {QUIET:g} s")
            told, self._telling = self._telling, None
            told.result()

    async def _hush(self) -> None:
        """What is under way is told to nobody: it would be, again and again, also when the partitions are others'."""
        told, self._telling = self._telling, None
        if told is not None:
            told.cancel()
            await asyncio.wait([told])
            if not told.cancelled() and (problem := told.exception()) is not None:
                logger.debug("%s: a commit at the end raised %r", self._topic, problem)

    async def extend(self, tokens: Sequence[int]) -> Iterable[int]:
        """Nothing has a lease: whoever is in the group has its partitions."""
        return ()

    async def lag(self) -> int | None:
        """Offsets of this consumer's partitions that it has not been given; gaps at their ends are passed."""
        ends, behind = await self._ends(), 0
        for partition in ends:
            position = await self._position(partition)
            if position is None:
                return None
            if (book := self._books.get(self._place(partition))) is None:
                book = self._books[self._place(partition)] = Offsets(position)
            book.passed(position)
            behind += max(0, ends[partition] - position)
        await self._commit()
        return behind

    async def _position(self, partition: Any) -> int | None:
        """Where the next record comes from; None where that is not this consumer's to say."""
        number = self._assignment
        if self._dealing or partition not in self._joined.assignment():
            return None
        try:
            async with asyncio.timeout(QUIET):
                position: int = await self._joined.position(partition)
        except needed("aiokafka.errors", EXTRA).IllegalStateError:
            return None
        return None if self._dealing or number != self._assignment else position

    async def _ends(self) -> dict[Any, int]:
        """Of this consumer's partitions; of another where it has none. Brokers that do not answer are away."""
        consumer = self._joined
        partitions = [*consumer.assignment()]
        if not partitions:
            known = sorted(consumer.partitions_for_topic(self._topic) or ())[:1]
            partitions = [needed("aiokafka", EXTRA).TopicPartition(self._topic, at) for at in known]
        async with asyncio.timeout(QUIET):
            ends: dict[Any, int] = await consumer.end_offsets(partitions)
        return ends

    async def close(self, known: Callable[[int], bool]) -> None:
        """Commit how far all is final, and leave the group."""
        try:
            if self._consumer is not None and not self._broken:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PARTING):
                        await self._commit()
        finally:
            await self._end()
            self._failures.clear()

    async def _end(self) -> None:
        """The consumer is stopped, if there is one."""
        consumer, self._consumer = self._consumer, None
        self._forget()
        try:
            if consumer is not None:
                await ended(consumer)
        finally:
            await self._hush()
            self._open.close()
