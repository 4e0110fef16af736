"""Any form of feed, with faults on the records at some positions. What it yields else is as it was.

Comes in: a feed as a user writes it. Goes out: one of the same form, which a run looks at as at any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeframe_async._rules.feed_forms import Feed, Form, feed_form
from pipeframe_async.model import AnyFailure, Chunk, Delivery
from pipeframe_async.testing.copies import stays_at_home
from pipeframe_async.testing.doubles import Double, class_of_double
from pipeframe_async.testing.marks import Decodes, Marked, Placed, bare

FLAGS: Final = ("streams", "live", "results", "replays")

Faulty = Mapping[int, Sequence[Placed]]
"""Faults by the position of their record."""


@dataclass(frozen=True, slots=True)
class SinkMark:
    """The key of a delivery whose results no sink shall take; `key` is what it had."""

    placed: Placed
    key: object


def bare_failure(failure: AnyFailure | None) -> AnyFailure | None:
    """A failure as its user knows the record."""
    return replace(failure, record=bare(failure.record)) if failure is not None else None


class Marker:
    """Marks what one feed yields, one item after the other, from position 0."""

    def __init__(self, faulty: Faulty) -> None:
        self._faulty = faulty
        self._position = 0

    def items(self, item: Any) -> Iterator[Any]:
        """What is yielded in its place.

        Raises:
            BaseException: where the feed is to raise; what came before in a chunk was yielded.
        """
        if not isinstance(item, Chunk):
            yield self._marked(item)
            return
        done: list[Any] = []
        try:
            for record in item.records:
                done.append(self._marked(record))
        except BaseException:
            if done:
                yield _chunk(done)
            raise
        yield _chunk(done)

    def _marked(self, item: Any) -> Any:
        faults, self._position = self._faulty.get(self._position), self._position + 1
        if faults is None:
            return item
        record = item.record if (delivered := isinstance(item, Delivery)) else item
        for one in faults:
            if one.fault.name == "feed_error" and one.falls_due():
                assert one.fault.error is not None
                raise one.fault.error
        sink = next((one for one in faults if one.fault.name == "sink_error"), None)
        if inside := tuple(one for one in faults if one.fault.name not in ("feed_error", "sink_error")):
            record = Marked(record, inside)
        if not delivered and sink is None:
            return record
        handle: Delivery[Any] = item if delivered else Delivery(None)
        key = handle.key if sink is None else SinkMark(sink, handle.key)
        return Delivery(record, key, handle.ack, _bare_nack(handle), _bare_outcome(handle), handle.failure)


def _chunk(records: list[Any]) -> Chunk[Any]:
    """Of records, or of nothing but deliveries: there is no chunk of both."""
    if any(isinstance(record, Delivery) for record in records):
        records = [record if isinstance(record, Delivery) else Delivery(record) for record in records]
    return Chunk(records)


def _bare_nack(handle: Delivery[Any]) -> Callable[[AnyFailure | None], object] | None:
    nack = handle.nack
    return None if nack is None else lambda failure: nack(bare_failure(failure))


def _bare_outcome(handle: Delivery[Any]) -> Callable[[list[Any], AnyFailure | None], None] | None:
    outcome = handle.outcome
    return None if outcome is None else lambda results, failure: outcome(results, bare_failure(failure))


def marked_feed(feed: Any, owner: str, faulty: Faulty) -> Any:
    """A feed of the same form whose records have these faults.

    Raises:
        ConfigError: it is no feed; as a run says it.
    """
    found = feed_form(feed, owner)
    match found.form:
        case Form.RETURNS:
            return _Returning(feed, owner, faulty)
        case Form.ASYNC_BUCKET:
            return _AsyncBucketFeed(feed, faulty)
        case Form.SYNC_BUCKET:
            return _BucketFeed(feed, faulty)
        case Form.STREAM:
            return _AsyncFeed(lambda: feed, faulty, streams=True)
        case Form.ASYNC if found.called:
            return _AsyncFeed(feed, faulty)
        case Form.SYNC if found.called:
            return _SyncFeed(feed, faulty)
        case _ if _is_source(found):
            return _source(found, faulty)
        case Form.ASYNC:
            return _AsyncFeed(lambda: feed, faulty)
        case _:
            return _SyncFeed(lambda: feed, faulty)


def _is_source(found: Feed) -> bool:
    return found.form is Form.TAKEN or bool(found.edge or found.decode or found.streams or found.seeks)


# A class for each form: what a run looks at is the code of its `__call__`.


class _AsyncFeed:
    __reduce__ = stays_at_home

    def __init__(self, make: Callable[[], Any], faulty: Faulty, *, streams: bool = False) -> None:
        self._make = make
        self._faulty = faulty
        self._streams = streams

    async def __call__(self) -> AsyncIterator[Any]:
        feed, marker = self._make(), Marker(self._faulty)
        async with AsyncExitStack() as stack:
            if self._streams:
                feed = await stack.enter_async_context(feed.stream())
            elif hasattr(feed, "aclose"):
                await stack.enter_async_context(aclosing(feed))
            async for item in feed:
                for one in marker.items(item):
                    yield one


class _SyncFeed:
    __reduce__ = stays_at_home

    def __init__(self, make: Callable[[], Iterable[Any]], faulty: Faulty) -> None:
        self._make = make
        self._faulty = faulty

    def __call__(self) -> Iterator[Any]:
        feed: Any = self._make()
        marker = Marker(self._faulty)
        with ExitStack() as stack:
            if hasattr(feed, "close") and hasattr(feed, "send"):  # a generator
                stack.enter_context(closing(feed))
            for item in feed:
                yield from marker.items(item)


class _Returning:
    __reduce__ = stays_at_home

    def __init__(self, function: Callable[[], Any], owner: str, faulty: Faulty) -> None:
        self._function = function
        self._owner = owner
        self._faulty = faulty

    def __call__(self) -> Any:
        feed = self._function()
        return None if feed is None else marked_feed(feed, self._owner, self._faulty)


class _AsyncBucketFeed:
    __reduce__ = stays_at_home

    def __init__(self, function: Callable[[Any], Awaitable[None]], faulty: Faulty) -> None:
        self._function = function
        self._faulty = faulty

    async def __call__(self, bucket: Any) -> None:
        await self._function(_AsyncBucket(bucket, Marker(self._faulty)))


class _BucketFeed:
    __reduce__ = stays_at_home

    def __init__(self, function: Callable[[Any], None], faulty: Faulty) -> None:
        self._function = function
        self._faulty = faulty

    def __call__(self, bucket: Any) -> None:
        self._function(_Bucket(bucket, Marker(self._faulty)))


class _AsyncBucket:
    def __init__(self, bucket: Any, marker: Marker) -> None:
        self._bucket = bucket
        self._marker = marker

    async def put(self, item: Any) -> None:
        """Put what stands in its place."""
        for one in self._marker.items(item):
            await self._bucket.put(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)


class _Bucket:
    def __init__(self, bucket: Any, marker: Marker) -> None:
        self._bucket = bucket
        self._marker = marker

    def put(self, item: Any) -> None:
        """Put what stands in its place."""
        for one in self._marker.items(item):
            self._bucket.put(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)


# A source: what it is found to be is what its class has, so each gets a class of its own.


def _source(found: Feed, faulty: Faulty) -> Any:
    kind = type(found.value)
    told: dict[str, Any] = {name: getattr(kind, name) for name in FLAGS if hasattr(kind, name)}
    if found.form is Form.TAKEN:
        told["take"] = _take
    elif found.form is Form.SYNC:
        told["__iter__"] = _iterated
    else:
        told["__aiter__"] = _async_iterated
    decode = None if found.decode is None else Decodes(found.decode)
    return class_of_double(found.value, _SourceDouble, told)(found.value, faulty, decode)


class _SourceDouble(Double):
    """Of its records some have faults."""

    def __init__(self, source: Any, faulty: Faulty, decode: Decodes | None) -> None:
        super().__init__(source)
        self._faulty = faulty
        self._marker = Marker(faulty)  # of one that is asked
        self._late: BaseException | None = None  # raised when what came before it has been taken
        self.decode = decode


async def _take(self: _SourceDouble, room: int) -> list[Any] | None:
    if self._late is not None:
        raise self._late
    if (taken := await self._behind.take(room)) is None:
        return None
    marked: list[Any] = []
    try:
        for item in taken:
            marked.extend(self._marker.items(item))
    except BaseException as error:
        if not marked:
            raise
        self._late = error
    return marked


def _iterated(self: _SourceDouble) -> Iterator[Any]:
    marker = Marker(self._faulty)
    for item in self._behind:
        yield from marker.items(item)


async def _async_iterated(self: _SourceDouble) -> AsyncIterator[Any]:
    marker = Marker(self._faulty)
    async for item in self._behind:
        for one in marker.items(item):
            yield one
