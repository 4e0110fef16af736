"""An `async def feed(bucket)` as something the loop can take records from. Runs on the loop, in one task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic

from pipeframe_async._engine.bell import Bell
from pipeframe_async.errors import DrainTimeout, StateError
from pipeframe_async.model import Chunk, Fed, T


class AsyncBucket(Generic[T]):
    """What an async `feed(bucket)` puts its records in: `async def feed(self, bucket: AsyncBucket[str])`."""

    def __init__(self, pump: BucketPump) -> None:
        self._pump = pump

    def put(self, record: Fed[T]) -> Coroutine[Any, Any, None]:
        """Hand over one record, or a `Chunk` of them, when it is awaited; waits while the buffer is full.

        Args:
            record: anything that pickles; a `Delivery` where it has a handle to its source.

        Raises:
            StateError: the feed has returned, and with it the stream has ended.

        Cancellation: a record whose `put` was cancelled while it waited was not handed over.

        Process: the parent, on the run's loop.
        """
        return _Put(self._pump, record)


UNAWAITED = "a bucket.put was not awaited, so what it was given was not handed over: write `await bucket.put(record)`"


class _Put(Coroutine[Any, Any, None]):
    """One call of `put`: a coroutine that tells when it is let go and nobody has awaited it."""

    __slots__ = ("_begun", "_pump", "_record")

    def __init__(self, pump: BucketPump, record: Any) -> None:
        self._pump, self._record = pump, record
        self._begun: Coroutine[Any, Any, None] | None = None
        pump.promised()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._begin().__await__()

    def send(self, value: Any) -> Any:
        return self._begin().send(value)

    def throw(self, *error: Any) -> Any:
        return self._begin().throw(*error)

    def close(self) -> None:
        self._begin().close()

    def _begin(self) -> Coroutine[Any, Any, None]:
        if self._begun is None:
            self._pump.claimed()
            record = self._record
            self._begun = self._pump.put_all(record) if isinstance(record, Chunk) else self._pump.put(record)
        return self._begun

    def __del__(self) -> None:
        if self._begun is None:
            self._pump.forgotten()


class BucketPump:
    """The feed's task, and the records between it and intake."""

    stays = True
    length: int | None = None

    def __init__(self, feed: Callable[[AsyncBucket], Awaitable[None]]) -> None:
        self._buffer: list[Any] = []
        self._room = 0
        self._put = Bell()
        self._taken = Bell()
        self._asked = 0  # calls of `put` that nobody has awaited yet
        self._ended = self._held = self._forgotten = False
        self._task = asyncio.ensure_future(self._run(feed))

    def promised(self) -> None:
        """`put` was called, and is to be awaited."""
        self._asked += 1

    def claimed(self) -> None:
        """It was awaited."""
        self._asked -= 1

    def forgotten(self) -> None:
        """It will never be: `take` says so, which a feed without an end does not come to by itself."""
        self._forgotten = True
        self._put.ring()

    async def _run(self, feed: Callable[[AsyncBucket], Awaitable[None]]) -> None:
        try:
            await feed(AsyncBucket(self))  # the user's, in a task of its own that `aclose` cancels
            if self._asked:
                raise StateError(UNAWAITED)
        finally:
            self._ended = True
            self._put.ring()
            self._taken.ring()

    async def put_all(self, chunk: Chunk[Any]) -> None:
        """Hand over each record of a chunk."""
        for record in chunk.records:
            await self.put(record)

    async def put(self, record: Any) -> None:
        """Wait for room, then hand over."""
        while not self._ended and (self._held or len(self._buffer) >= self._room):
            await self._taken.wait()  # rung by `take`, in the intake task, and when the feed has returned
        if self._ended:
            raise StateError("bucket.put came after the feed had returned: wait in feed for all who put")
        self._buffer.append(record)
        self._put.ring()

    async def take(self, room: int) -> list[Any] | None:
        """What has been put, up to `room` records; None when the feed has returned. Raises what the feed raised."""
        self._room = room
        self._taken.ring()
        while not self._buffer:
            if self._task.done():
                self._task.result()
                return None
            if self._forgotten:
                raise StateError(UNAWAITED)
            await self._put.wait()  # rung by `put`, in the feed's task or one it has started
        records = self._buffer[:room]
        del self._buffer[: len(records)]
        self._room = room - len(records)  # until the next take, which knows the permits that are left
        return records

    def hold(self) -> None:
        """Whoever puts waits from now on."""
        self._held = True

    def rest(self) -> list[Any]:
        """What was handed over and not taken."""
        records, self._buffer = self._buffer, []
        return records

    async def aclose(self, timeout: float) -> None:
        """Cancel the feed and wait for it to have cleaned up.

        Raises:
            DrainTimeout: it has not, in so many seconds.
        """
        self._task.cancel()
        await asyncio.wait([self._task], timeout=timeout)  # the user's clean-up; it may still put, and is not heard
        if not self._task.done():
            raise DrainTimeout(f"the feed did not close within {timeout:g} s and was left behind")
        if not self._task.cancelled():
            self._task.exception()  # raised by take already, or on the way out of a feed nobody listens to
