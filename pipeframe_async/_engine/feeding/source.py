"""Any form of feed, opened: either an async iterator to loop over, or a source to take lists from.

Whatever was opened is closed by the same task that iterated it, in bounded time, on every way out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from pipeframe_async._engine.feeding.bucket import BucketPump
from pipeframe_async._engine.feeding.pump import Bucket, Pump
from pipeframe_async._engine.feeding.trail import Trail, followed
from pipeframe_async._rules.feed_forms import Feed, Form, length_of
from pipeframe_async.errors import DrainTimeout
from pipeframe_async.model import Chunk, made

CLOSE_TIMEOUT = 5.0
"""Seconds a feed has to clean up. Less cuts off polite protocols; more makes a stuck feed hold up the end."""


SLICE = 10_000
"""Records taken from a list at once: 0.1 ms, or 0.6 where it may have chunks. More keeps the loop longer, fewer cost
checkpoints."""


class Buffered(Protocol):
    """A feed that keeps its records in a buffer of its own.

    Attributes:
        length: how many records it says it has; None where it does not, or not in records.
    """

    length: int | None

    async def take(self, room: int) -> list[Any] | None:
        """What there is, at most `room` records; waits for at least one; None at the end."""

    stays: bool
    """It can be left as it is, asked for no more, until it is closed."""

    def hold(self) -> None:
        """Let nobody hand over any more."""

    def rest(self) -> list[Any]:
        """What was handed over and not taken; asked for after `hold` or `aclose`."""

    async def aclose(self, timeout: float) -> None:
        """Stop and clean up."""


class Taken:
    """A source that is asked for as many records as there is room for."""

    length: int | None = None
    stays = True

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def take(self, room: int) -> list[Any] | None:
        """What it has."""
        taken: list[Any] | None = await self._feed.value.take(room)  # the user's; where it is cancelled it loses none
        return taken

    def hold(self) -> None:
        """It only gives what is asked for."""

    def rest(self) -> list[Any]:
        """Nothing: what was not taken was not handed over."""
        return []

    async def aclose(self, timeout: float) -> None:
        """It is closed by its life, when all is answered."""


class Listed:
    """Records that are all there: sliced on the loop, where a thread would only be in the way."""

    stays = True

    def __init__(self, feed: Feed) -> None:
        self._records: Sequence[Any] = feed.value
        self.length = length_of(feed.value)
        self._at = 0
        self._chunk: list[Any] = []  # what there was no room for of the last one

    async def take(self, room: int) -> list[Any] | None:
        """The next slice."""
        most = min(room, SLICE)
        piece = list(self._records[self._at : self._at + most])
        if self._chunk or (made and not made.isdisjoint(map(type, piece))):
            return self._with_chunks(piece, most) or None
        self._at += len(piece)
        return piece or None

    def _with_chunks(self, piece: Sequence[Any], most: int) -> list[Any]:
        """The first records, at most so many; of a chunk that has more the rest is kept. None: there are no more."""
        records, self._chunk = self._chunk, []
        while piece and len(records) < most:
            for one in piece:
                self._at += 1
                if isinstance(one, Chunk):
                    self.length = None
                    records += one.records
                else:
                    records.append(one)
                if len(records) >= most:
                    break
            piece = self._records[self._at : self._at + most]  # chunks may be empty
        self._chunk = records[most:]
        return records[:most]

    def hold(self) -> None:
        """It only gives what is asked for."""

    def rest(self) -> list[Any]:
        """Nothing: what was not taken was not handed over."""
        return []

    async def aclose(self, timeout: float) -> None:
        """Nothing to close."""


@asynccontextmanager
async def opened(feed: Feed, name: str, trail: Trail | None = None) -> AsyncIterator[AsyncIterator[Any] | Buffered]:
    """Open a feed.

    Args:
        feed: what it is.
        name: the pipeline's, for threads and messages.
        trail: where it begins, and what is noted of where it is; of a job with a checkpoint.

    Yields:
        An async iterator of records, or a `Buffered` to take lists from.

    Raises:
        DrainTimeout: it did not close in time.
    """
    feed = _called(feed)
    if trail is not None:
        feed = followed(feed, trail)
    match feed.form:
        case Form.STREAM:
            streamer = feed.value.stream()
            iterator = await streamer.__aenter__()  # in the intake task, as all of the feed; left by it below
            try:
                yield iterator
            finally:  # whatever ends the run is none of the source's business
                await _in_time(streamer.__aexit__(None, None, None))
        case Form.ASYNC:
            iterator = aiter(feed.value)
            try:
                yield iterator
            finally:
                await _close(iterator)
        case _:
            source = _source(feed, name)
            try:
                yield source
            finally:
                await source.aclose(CLOSE_TIMEOUT)


def _called(feed: Feed) -> Feed:
    if feed.form is Form.RAISES:
        raise feed.value
    return Feed(feed.form, feed.value()) if feed.called and feed.form is Form.ASYNC else feed


def _source(feed: Feed, name: str) -> Buffered:
    if feed.form is Form.ASYNC_BUCKET:
        return BucketPump(feed.value)
    if feed.form is Form.TAKEN:
        return Taken(feed)
    if feed.form is Form.SYNC_BUCKET:
        return Pump(lambda pump: feed.value(Bucket(pump)), name)
    if type(feed.value) in (list, tuple, range):  # one derived from those may have an iteration of its own
        return Listed(feed)
    # The generator is made in the thread too: its first lines may block as well.
    return Pump(lambda pump: pump.put_all(feed.value() if feed.called else feed.value), name)


async def _close(iterator: Any) -> None:
    if (aclose := getattr(iterator, "aclose", None)) is not None:
        await _in_time(aclose())


async def _in_time(closing: Awaitable[object]) -> None:
    limit = asyncio.timeout(CLOSE_TIMEOUT)
    try:
        async with limit:
            await closing  # the user's clean-up; a second cancel may hit it, and is passed on
    except BaseExceptionGroup as group:
        if group.split(GeneratorExit)[1] is not None:
            raise  # else it is our own close, which a task group in the feed has wrapped
    except TimeoutError as error:
        if not limit.expired():
            raise  # the clean-up's own
        raise DrainTimeout(f"the feed did not close within {CLOSE_TIMEOUT:g} s and was left behind") from error
