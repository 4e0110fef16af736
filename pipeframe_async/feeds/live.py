"""What live sources of messages have in common: taken as there is room for them, leased, counted and answered.

Comes in: messages of a server, in its own words: a `Queue`. Goes out: deliveries; and for the server, acks and nacks,
many at once. A record costs the loop two appends.

Tasks: `take` is called by the run's intake. Beside it are three of the source's own, from its opening to its close: one
that fetches, so that a `take` which is cancelled loses nothing; one that sends answers; one that extends leases.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from pipeframe_async.errors import FeedError, text_of
from pipeframe_async.feeds.queue import Message, Nack, Queue, Token
from pipeframe_async.model import AnyFailure, Chunk, Failure
from pipeframe_async.servers.reach import Reach, ended, positive
from pipeframe_async.stats import SourceCounts

logger = logging.getLogger("pipeframe_async")

R = TypeVar("R")

MOST_FETCHED = 1_000
"""Messages of one request. More keep the loop while they are read, about 5 us each; fewer cost requests."""
ITERATED = 100
"""Messages of a chunk where a source is iterated by hand, and nobody says how many there is room for."""
FLUSH = 0.02
"""Seconds that an answer waits for others at most. Longer holds up who is waiting for room, shorter costs requests."""
MOST_ANSWERS = 500
"""Answers of one request, which wait for no others. More hold up the server and the loop, fewer are more requests."""
MOST_EXTENDED = 1_000
"""Leases of one request. More hold up the server, where a whole run waits for its sink; fewer are more requests."""
LOOK = 1.0
"""Seconds between two looks at how many messages the server still has."""
PARTING = 5.0
"""Seconds in which the last answers must reach the server. Longer holds up an end whose server is away."""
PARTED = 1.0
"""Seconds that are left to hand back and disconnect, where they have not."""
FIRST_PAUSE = 1.0
"""Seconds before a record that failed is delivered again; twice that the next time, and so on, up to its lease."""


class Live(Generic[Token]):
    """A source of a server's messages; each file of the room makes one of a `Queue`.

    Args:
        queue: the server's.
        reach: whether the server is there.
        name: what messages call it.
        lease: seconds after which the server gives a message without an answer to others; None where it never does.
        max_deliveries: how often a message is delivered before it counts as poison; None: any number.
        timeout: seconds that connecting may take.
    """

    streams = True
    live = True

    def __init__(
        self,
        queue: Queue[Token],
        reach: Reach,
        *,
        name: str,
        lease: float | None,
        max_deliveries: int | None,
        timeout: float,
    ) -> None:
        self._queue = queue
        self._reach = reach
        self._name = name
        self.lease = None if lease is None else positive(name, "lease", lease)
        self._max_deliveries = None if max_deliveries is None else int(positive(name, "max_deliveries", max_deliveries))
        self._timeout = positive(name, "timeout", timeout)
        self._stopped = False
        self._reset()

    def _reset(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: list[Message[Token]] = []  # fetched, and not taken
        self._held: dict[Token, float] = {}  # fetched, and without an answer; when their leases began
        self._acks: deque[Token] = deque()  # as many as a run had, where its sink is whole or not there
        self._nacks: deque[Nack[Token]] = deque()
        self._sending = 0  # answers that are under way
        self._room = 0
        self._asked = asyncio.Event()  # there is room
        self._came = asyncio.Event()  # something is ready, or nothing will be
        self._said = asyncio.Event()  # there are answers
        self._hurry = asyncio.Event()  # which are waited for, or are many
        self._sent = asyncio.Event()  # and fewer
        self._error: BaseException | None = None
        self._redelivered = 0
        self._lag: int | None = None

    def __repr__(self) -> str:
        return self._name

    def stop(self) -> None:
        """This source ends: it fetches no more, and its run works off what it was given. Others are not stopped.

        Must be called on the event loop of the run.
        """
        self._stopped = True
        self._came.set()
        self._sent.set()
        self._asked.set()

    def counts(self) -> SourceCounts:
        """How it stands with its server. Looks only."""
        return SourceCounts(len(self._held), self._redelivered, self._reach.returns, self._lag, self._reach.away)

    async def take(self, room: int) -> list[Message[Token]] | None:
        """Deliveries, at least one and at most `room`; None when it was stopped.

        Cancellation: what it would have given is given to the next call, or handed back.
        """
        try:
            while True:
                self._check()
                if self._stopped:
                    return None
                # Those whose answers have not been sent are still handed out.
                if (most := room - len(self._acks) - len(self._nacks) - self._sending) <= 0:
                    self._sent.clear()
                    self._hurry.set()
                    await self._sent.wait()  # set by `_answering`, by `stop`, and when a task has failed
                elif self._ready:
                    taken, self._ready = self._ready[:most], self._ready[most:]
                    return taken
                else:
                    self._room = min(most, MOST_FETCHED)
                    self._asked.set()
                    self._came.clear()
                    await self._came.wait()  # set by `_fetching`, by `stop`, and when a task has failed
        finally:
            self._room = 0
            self._asked.clear()

    async def __aiter__(self) -> AsyncIterator[Chunk[Any]]:
        while (deliveries := await self.take(ITERATED)) is not None:
            yield Chunk(deliveries)

    async def __aenter__(self) -> Live[Token]:
        self._reset()
        try:
            await self._reach.reached(self._queue.open, self._timeout)
        except BaseException:
            self._stopped = False  # it may be another run's
            await self._disconnect(PARTING)
            raise
        for name, work in (("fetch", self._fetching), ("answer", self._answering), ("lease", self._leasing)):
            self._tasks.append(asyncio.create_task(self._watched(work), name=f"pipeframe-{name}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        heard = False
        fetching, answering, leasing = self._tasks
        try:
            await ended(fetching, leasing)
            self._nacks += [Nack(m.token, 0.0, begun=False, deliveries=m.deliveries) for m in self._ready]
            heard = await self._part(answering)
        finally:
            try:
                await ended(*self._tasks)  # all of them: a cancel may have met the wait above
            finally:
                await self._disconnect(PARTING if heard else PARTED)
                self._stopped = False  # it may be another run's
        try:
            self._check()
        finally:
            self._stopped = False

    async def _disconnect(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._queue.close(self._knows)
        except Exception as problem:  # it is away, or broken: there is nothing left to close
            logger.debug("%s: closing raised %s", self._name, text_of(problem))

    async def _part(self, answering: asyncio.Task[None]) -> bool:
        """Send the last answers; whether the server has them."""
        loop = asyncio.get_running_loop()
        until, before = loop.time() + PARTING, 0
        while left := len(self._acks) + len(self._nacks) + self._sending:
            if left != before:  # it goes on
                until, before = loop.time() + PARTING, left
            if loop.time() >= until or answering.done():
                logger.warning(
                    "%s: %d answers did not reach the server: those records will be delivered again",
                    self._name,
                    left,
                )
                return False
            self._said.set()
            self._hurry.set()
            self._sent.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._sent.wait()  # set by `_answering`, and when it has failed
        return True

    def _poison(self, message: Message[Token]) -> AnyFailure | None:
        deliveries, most = message.deliveries, self._max_deliveries
        if deliveries == 1:
            return None
        self._redelivered += 1
        if most is None or deliveries <= most:
            return None
        said = f"it is delivered for the {deliveries}th time, and max_deliveries is {most}"
        return Failure(message.record, "feed", "poison", "Poison", said, attempts=deliveries - 1)

    def ack(self, token: Token) -> None:
        """A delivery is done with: the server is told with the next request."""
        self._acks.append(token)
        self._said.set()
        if len(self._acks) >= MOST_ANSWERS:
            self._hurry.set()

    def nack(self, token: Token, deliveries: int, failure: AnyFailure | None) -> None:
        """A delivery was given up, or has failed and nobody has that."""
        if failure is not None and failure.kind == "poison":
            logger.error(  # it stays held, so that it is not delivered to anybody else while this source lives
                "%s: %s; there is no dead_letter that takes it, so it is left with the server, unanswered",
                self._name,
                failure.message,
            )
            return
        pause = 0.0 if failure is None else min(FIRST_PAUSE * 2 ** min(deliveries - 1, 30), self.lease or 3600.0)
        self._nacks.append(Nack(token, pause, failure is not None, deliveries))
        self._said.set()

    def crowd(self) -> Awaitable[None] | None:
        """What to wait for after each `MOST_ANSWERS`, where answers come faster than they are sent."""
        return None if (len(self._acks) + len(self._nacks)) % MOST_ANSWERS else self._thinned()

    async def _thinned(self) -> None:
        answering = self._tasks[1]
        while len(self._acks) + len(self._nacks) >= MOST_ANSWERS and self._error is None and not answering.done():
            self._said.set()
            self._hurry.set()
            self._sent.clear()
            await self._sent.wait()  # set by `_answering`, and when it has failed

    async def _watched(self, work: Callable[[], Awaitable[None]]) -> None:
        """A task of this source: what it raises is raised by `take`, and by closing."""
        try:
            await work()
        except Exception as error:
            self._error = self._error or error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # nobody's but the client library's: `take` would wait for ever
                self._error = self._error or error
        finally:
            self._came.set()
            self._sent.set()

    def _check(self) -> None:
        if self._error is not None:
            error, self._error, self._stopped = self._error, None, True
            raise FeedError(f"{self._name}: {type(error).__name__}: {text_of(error)}") from error

    async def _called(self, call: Callable[[], Awaitable[R]]) -> R:
        """What a call of the queue gives, as soon as the server is there; it is opened again where that was away."""
        lost = self._reach.away

        async def once() -> R:
            nonlocal lost
            if lost:
                await self._queue.open()
            lost = True
            value = await call()
            lost = False
            return value

        return await self._reach.reached(once)

    async def _fetching(self) -> None:
        while True:
            await self._asked.wait()  # set by `take`, where there is room and nothing is ready
            if self._stopped:
                return
            if not self._ready and (room := self._room):
                await self._called(partial(self._fetch, room))
            if self._ready:
                self._asked.clear()
                self._came.set()

    async def _fetch(self, room: int) -> None:
        """What comes is kept in the same step, so that a cancel of whoever waits for it loses nothing."""
        messages = await self._queue.fetch(room, self._knows)
        now = asyncio.get_running_loop().time()
        for message in messages:
            message.fetched(self, self._poison(message))
            self._held[message.token] = now
        self._ready += messages

    def _knows(self, token: Token) -> bool:
        """Whether it was fetched, and has no answer."""
        return token in self._held

    async def _answering(self) -> None:
        while True:
            await self._said.wait()  # set by acks and nacks
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH):
                    await self._hurry.wait()  # others come
            self._said.clear()
            self._hurry.clear()
            while self._acks or self._nacks:
                acks, nacks = _first(self._acks), _first(self._nacks)
                self._sending = len(acks) + len(nacks)
                await self._answer(acks, nacks)
                self._sending = 0
                self._sent.set()

    async def _answer(self, acks: Sequence[Token], nacks: Sequence[Nack[Token]]) -> None:
        """Send answers, but for those of records that are others' by now."""
        held, lease = self._held, self.lease
        if lease is not None:
            old = asyncio.get_running_loop().time() - lease
            stale = [t for t in (*acks, *(n.token for n in nacks)) if held.get(t, old + 1) <= old]
            if stale:
                await self._extend(stale)
        acks, nacks = [t for t in acks if t in held], [n for n in nacks if n.token in held]
        if acks or nacks:
            await self._called(partial(self._queue.answer, acks, nacks))
            for token in (*acks, *(nack.token for nack in nacks)):
                held.pop(token, None)

    async def _leasing(self) -> None:
        """Extend leases by a clock of their own, and look at what the server still has."""
        loop = asyncio.get_running_loop()
        while True:
            if self.lease is not None:
                due = loop.time() - self.lease / 3
                if old := [token for token, since in self._held.items() if since <= due]:
                    await self._extend(old)
            self._lag = await self._called(self._queue.lag)
            await asyncio.sleep(LOOK if self.lease is None else min(LOOK, self.lease / 6))

    async def _extend(self, tokens: Sequence[Token]) -> None:
        """Their leases begin anew, but of those that are others' by now."""
        for start in range(0, len(tokens), MOST_EXTENDED):
            if some := [token for token in tokens[start : start + MOST_EXTENDED] if token in self._held]:
                await self._extend_some(some)

    async def _extend_some(self, tokens: Sequence[Token]) -> None:
        began, held, lease = asyncio.get_running_loop().time(), self._held, self.lease or 0.0
        lost = [*await self._called(partial(self._queue.extend, tokens))]
        if not self._queue.checks:  # the server was away perhaps, and it is later now
            now = asyncio.get_running_loop().time()
            lost = [token for token in tokens if now - held.get(token, now) >= lease]
        held.update((token, began) for token in tokens if token in held)
        self._fence(lost, f"they had no answer for {lease:g} s")

    async def _withdraw(self, tokens: Collection[Token], patience: float) -> None:
        """The server is about to give these to others: what has not begun is dropped, what has may still be answered.

        Called by a queue, in any task.
        """
        withdrawn, held = {*tokens}, self._held
        dropped = {message.token for message in self._ready} & withdrawn
        self._ready = [message for message in self._ready if message.token not in dropped]
        for token in dropped:
            held.pop(token, None)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not withdrawn.isdisjoint(held):
                    self._hurry.set()
                    self._sent.clear()
                    await self._sent.wait()  # set by `_answering`, and when a task has failed
        self._fence([token for token in withdrawn if token in held], "they are dealt anew")

    def _fence(self, lost: Sequence[Token], why: str) -> None:
        """These are others' by now: whatever comes of them here is not told to the server."""
        for token in lost:
            self._held.pop(token, None)
        if lost:
            logger.warning("%s: %d records were given to others, because %s", self._name, len(lost), why)


def _first(answers: deque[R]) -> list[R]:
    """Those that are sent in one request; they are there no more."""
    return [answers.popleft() for _ in range(min(MOST_ANSWERS, len(answers)))]
