"""A feed that blocks, pulled in a thread of its own: plain generators, iterables, and sync `feed(bucket)`.

The loop grants room, the thread pulls that many records and no more, and the loop takes whatever is there:
a slow feed is handed on record by record, a fast one by the thousand, with one wake-up a hand-over.

Threads: a `Pump` is shared. Its buffer is appended to by the feed's thread and emptied by the loop, both by
single operations on a list. The loop alone writes `taken`, `allowed` and `stopped`; the thread alone `pulled`
and `done`; `hungry` is set by the loop and cleared by the thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from pipeframe_async._engine.bell import Bell
from pipeframe_async.errors import StateError
from pipeframe_async.model import Chunk

logger = logging.getLogger("pipeframe_async")

NOTICE = 1.0
"""Seconds a feed's thread has to notice that it was stopped, which it does at its next record. Longer holds up the
end of every run whose feed is blocked; shorter leaves threads behind that were about to end."""


class FeedStopped(BaseException):
    """Ends a feed that is blocked in `bucket.put` when the run has ended; not to be caught by `except Exception`."""


class Pump:
    """A blocking feed as something the loop can take records from.

    Args:
        produce: runs in the thread and calls `put` or `put_all` with what it has.
    """

    def __init__(self, produce: Callable[[Pump], None], name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._produce = produce
        self._buffer: list[Any] = []
        self._taken = 0
        self._pulled = 0
        self._allowed = 0
        self._room = threading.Event()
        self._putting = threading.Lock()  # a feed may call bucket.put from several threads
        self._hungry = False
        self._stopped = False
        self._done = False
        self._error: BaseException | None = None
        self._bell = Bell()
        self._thread = threading.Thread(target=self._main, name=f"pipeframe-feed-{name}", daemon=True)
        self._thread.start()

    async def take(self, room: int) -> list[Any] | None:
        """What has been pulled, up to `room` records; None when the feed has ended.

        Args:
            room: permits there are: so many records may be pulled and not taken yet.
        """
        self._allowed = self._taken + room
        self._room.set()
        while not self._buffer:
            if self._done and not self._buffer:
                self._raise()
                return None
            self._hungry = True
            if not self._buffer and not self._done:
                await self._bell.wait()
        records = self._buffer[:room]
        del self._buffer[: len(records)]
        self._taken += len(records)
        return records

    def rest(self) -> list[Any]:
        """What was handed over and not taken."""
        records, self._buffer = self._buffer, []
        return records

    async def aclose(self, timeout: float) -> None:
        """Stop pulling and wait for the thread; one that stays blocked in the feed is left behind, with a warning.

        Raises what the feed raised while it ended, unless `take` has.
        """
        self._stopped = True
        self._room.set()
        try:
            async with asyncio.timeout(min(timeout, NOTICE)):
                while not self._done:
                    await self._bell.wait()
        except TimeoutError:
            logger.warning("the feed's thread %s is blocked in the feed and was left behind", self._thread.name)
        else:
            self._thread.join()  # it has said its last word; this takes microseconds
            self._raise()

    def _raise(self) -> None:
        """Raise what the feed raised, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def put(self, record: Any) -> None:
        """Hand over one record, or the records of a Chunk; blocks while there is no room. Called in threads."""
        with self._putting:
            if self._done:
                raise StateError("bucket.put came after the feed had returned: wait in feed for all who put")
            if type(record) is Chunk:
                self.put_all(record.records)
            else:
                self._reserve()
                self._buffer.append(record)
                self._pulled += 1
                self._announce()

    def put_all(self, records: Iterable[Any]) -> None:
        """Hand over all of an iterable, never pulling a record there is no room for. Called in the feed's thread."""
        iterator = iter(records)
        try:
            while self._pull(iterator, self._reserve()):
                pass
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()

    def _pull(self, iterator: Iterable[Any], room: int) -> bool:
        """Pull up to `room` records; False when there are no more."""
        buffer, before = self._buffer, self._pulled
        for record in islice(iterator, room):
            if type(record) is Chunk:
                self.put_all(record.records)
                return True  # that took from the room, which must be asked for anew
            buffer.append(record)
            self._pulled += 1
            if self._hungry:
                self._announce()
            if self._stopped:
                raise FeedStopped
        return self._pulled == before + room

    def _reserve(self) -> int:
        """How many records may be pulled now, at least one; blocks until that is so."""
        while not self._stopped:
            self._room.clear()
            if (room := self._allowed - self._pulled) > 0:
                return room
            self._room.wait()
        if threading.current_thread() is not self._thread:  # one the feed has started, and that nobody here ends
            raise StateError("bucket.put came after the run had ended")
        raise FeedStopped

    def _announce(self) -> None:
        if self._hungry:
            self._hungry = False
            self._call(self._bell.ring)

    def _main(self) -> None:
        try:
            self._produce(self)
        except FeedStopped:
            pass
        except BaseException as error:
            self._error = error
        with self._putting:
            self._done = True
        self._call(self._bell.ring)

    def _call(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
            self._loop.call_soon_threadsafe(callback)


class Bucket:
    """What a sync `feed(bucket)` puts its records in."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump

    def put(self, record: Any) -> None:
        """Hand over one record, or a `Chunk` of them; blocks while the buffer is full.

        Args:
            record: anything that pickles.

        Raises:
            StateError: the feed has returned, or the run has ended.

        Process: the parent, in the feed's thread (or any other thread).
        """
        self._pump.put(record)
