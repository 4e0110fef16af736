"""A feed that blocks, pulled in a thread of its own: plain generators, iterables, and sync `feed(bucket)`.

The loop grants room, the thread pulls that many records and no more, and the loop takes whatever is there:
a slow feed is handed on record by record, a fast one by the thousand, with one wake-up a hand-over.

A fast feed is pulled in bursts, which cost no Python a record, and are handed over as a whole: a record by itself would
have the loop turn for it alone. What a burst has pulled is in the buffer at once; but the thread says so only after it,
so a loop that waits for a record looks for itself while there is a burst.

Threads: a `Pump` is shared. Its buffer is appended to by the feed's thread and emptied by the loop, both by
single operations on a list, which are whole with a GIL and without. So is setting an attribute, and what was set before
is seen before: the loop sets `hungry` and looks at the buffer again, the thread appends and then looks at `hungry`. The
loop alone writes `taken`, `allowed`, `looking` and `stopped`, and empties the gate, after it has said that it stops;
the thread makes it, before it looks whether that was said, and alone writes `pulled`, `burst`, `bursting` and `done`;
`hungry` is set by the loop and cleared by the thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from typing import Any, Generic

from pipeframe_async._engine.bell import Bell
from pipeframe_async._rules.feed_forms import length_of
from pipeframe_async.errors import StateError
from pipeframe_async.gil import gil_enabled
from pipeframe_async.model import Chunk, Fed, T

logger = logging.getLogger("pipeframe_async")

NOTICE = 1.0
"""Seconds a feed's thread has to notice that it was stopped, which it does at its next record. Longer holds up the
end of every run whose feed is blocked; shorter leaves threads behind that were about to end."""


MOST_BURST = 100
"""Records of a burst at most: of these what it costs is 20 ns a record. More keep the loop for longer where a feed that
is written in C, and keeps the GIL, turns slow; and have a loop that waits look on for longer where another one does."""
SHORT_BURST = 0.001
"""Seconds a burst may take to be followed by a longer one: as long as a loop that waits does not look."""
LOOK = 0.001
"""Seconds between two looks of a loop that waits while there is a burst. Shorter costs CPU, longer is latency."""


class FeedStopped(BaseException):
    """Ends a feed that is blocked in `bucket.put` when the run has ended; not to be caught by `except Exception`."""


NOTHING = object()

_record = itemgetter(1)


class _End(Iterator[Any]):
    """The end of what it is chained to, which says when it was reached."""

    reached = False

    def __next__(self) -> Any:
        self.reached = True
        raise StopIteration


class Pump:
    """A blocking feed as something the loop can take records from.

    Args:
        produce: runs in the thread and calls `put` or `put_all` with what it has.
    """

    length: int | None = None  # the thread's
    stays = False  # its thread cannot be stopped between two records without ending it

    def __init__(self, produce: Callable[[Pump], None], name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._produce = produce
        self._buffer: list[Any] = []
        self._in_hand: list[Any] = []  # the rest of chunks that were cut off; the thread's until it is done
        self._taken = 0
        self._pulled = 0
        self._allowed = 0
        self._room = threading.Event()
        self._putting = threading.Lock()  # a feed may call bucket.put from several threads
        self._hungry = False
        self._looking = False  # a loop that waits; else it has to be told
        self._burst = 1  # how many records the next one has: 1 where the feed is slow
        self._bursting = False
        self._gate: list[None] = []  # of the burst, as many as it may pull; none when it was stopped
        self._stopped = False
        self._done = False
        self._error: BaseException | None = None
        self._bell = Bell()
        self._thread = threading.Thread(target=self._main, name=f"pipeframe-feed-{name}", daemon=True)
        self._thread.start()

    async def take(self, room: int) -> list[Any] | None:
        """What has been pulled, up to `room` records or chunks; None when the feed has ended.

        Args:
            room: permits there are: so many records may be pulled and not taken yet.
        """
        self._allowed = self._taken + room
        self._room.set()
        while not self._buffer:
            if self._done and not self._buffer:
                self._raise()
                return None
            self._looking = self._bursting or self._burst > 1
            self._hungry = True
            if not self._buffer and not self._done:
                look = self._loop.call_later(LOOK, self._bell.ring) if self._looking else None
                await self._bell.wait()  # rung by the thread through the loop: it has appended by then, or is done
                if look is not None:
                    look.cancel()
        records = self._buffer[:room]
        del self._buffer[: len(records)]
        self._taken += len(records)
        return records

    def hold(self) -> None:
        """Nothing: it is closed at once."""

    def rest(self) -> list[Any]:
        """What was handed over and not taken, the rest of a Chunk included that there was no room for."""
        records, self._buffer, self._in_hand = [*self._buffer, *self._in_hand], [], []
        return records

    async def aclose(self, timeout: float) -> None:
        """Stop pulling and wait for the thread; one that stays blocked in the feed is left behind, with a warning.

        Raises what the feed raised while it ended, unless `take` has.
        """
        self._stopped = True
        self._gate.clear()
        self._room.set()
        try:
            async with asyncio.timeout(min(timeout, NOTICE)):
                while not self._done:
                    await self._bell.wait()  # the thread still puts what it has pulled: `rest` takes it
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
            if isinstance(record, Chunk):
                self._put_list(record.records)
            else:
                self._reserve()
                self._buffer.append(record)
                self._pulled += 1
                self._announce()

    def put_all(self, records: Iterable[Any]) -> None:
        """Hand over all of an iterable, never pulling a record there is no room for. Called in the feed's thread."""
        self.length = length_of(records)  # here, for it may block as well, and be this thread's alone
        iterator, end = iter(records), _End()
        try:
            while self._pull(chain(iterator, end), end, self._reserve()):
                pass
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()

    def _put_list(self, records: list[Any]) -> None:
        """Hand over the records of a Chunk, as many at a time as there is room for."""
        self.length = None
        at = 0
        try:
            while at < len(records):
                piece = records[at : at + self._reserve()]
                self._buffer.extend(piece)
                self._pulled += len(piece)
                at += len(piece)
                self._announce()
        except BaseException:  # the run wants no more: this is all the feed's hand held
            self._in_hand += records[at:]
            raise

    def _pull(self, iterator: Iterator[Any], iterated: _End, room: int) -> bool:
        """Pull up to `room` records; False when there are no more: `iterated` comes after the last one."""
        end = self._pulled + room
        while self._pulled < end:
            started = time.perf_counter()
            record = next(iterator, NOTHING)
            if record is NOTHING:
                return False
            if isinstance(record, Chunk):
                self._put_list(record.records)
                return True  # that took from the room, which must be asked for anew
            self._buffer.append(record)
            self._pulled += 1
            if (more := min(self._burst - 1, end - self._pulled)) > 0:
                self._pull_many(iterator, more)
                if iterated.reached:  # a burst that ends so has pulled fewer than it counts
                    return False
            else:
                self._announce()
            if self._stopped:
                raise FeedStopped
            fast = time.perf_counter() - started < SHORT_BURST
            self._burst = min(2 * self._burst, MOST_BURST) if fast else 1
        return True

    def _pull_many(self, iterator: Iterator[Any], records: int) -> None:
        """Pull so many records, or all there are, in one go."""
        self._bursting = True
        if not self._looking:
            self._announce()  # a loop that has begun to wait just before does not look for itself
        self._gate = gate = [None] * records
        if self._stopped:
            gate.clear()
        try:
            # The gate is asked first, and may be emptied meanwhile.
            burst = map(_record, zip(iter(gate), iterator, strict=False))
            if gil_enabled():
                self._buffer.extend(burst)
            else:  # `extend` has the list locked until all are pulled, and the loop could take nothing meanwhile
                deque(map(self._buffer.append, burst), maxlen=0)
        finally:
            self._bursting = False
        self._pulled += records
        self._announce()

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

    def _call(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
            self._loop.call_soon_threadsafe(callback)


class Bucket(Generic[T]):
    """What a sync `feed(bucket)` puts its records in: `def feed(self, bucket: Bucket[str])`."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump

    def put(self, record: Fed[T]) -> None:
        """Hand over one record, or a `Chunk` of them; blocks while the buffer is full.

        Args:
            record: anything that pickles; a `Delivery` where it has a handle to its source.

        Raises:
            StateError: the feed has returned, or the run has ended.

        Process: the parent, in the feed's thread (or any other thread).
        """
        self._pump.put(record)
