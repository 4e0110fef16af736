"""Feed → backlog. The hot loop is a bare `async for` with one append and two comparisons a record.

Everything else happens at checkpoints, which come when the backlog reaches a mark: booking permits, waiting
for room, waking lanes, letting the loop breathe. A permit is there before a record is asked for.

Task: runs in the run's intake task, the feed inside it, from its first record to its `aclose`. A feed that is stopped
before its end is asked for no more at once, and closed last: what it has opened is there until all is answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.feeding.backlog import Backlog
from pipeframe_async._engine.feeding.idle import IdleTimer
from pipeframe_async._engine.feeding.source import CLOSE_TIMEOUT, Buffered, Listed, Taken, opened
from pipeframe_async._engine.feeding.spill import BLOCK_BYTES
from pipeframe_async._engine.feeding.trail import Trail, not_done
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._engine.supervise import BREATH
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.feed_forms import Feed, Form, length_of
from pipeframe_async._rules.resume import Skipping, shorter
from pipeframe_async._rules.reuse import used_again
from pipeframe_async.checkpoint import Done
from pipeframe_async.errors import CheckpointMismatch, FeedError, text_of
from pipeframe_async.model import Chunk, Delivery, made
from pipeframe_async.stats import SourceCounts
from pipeframe_async.weight import weight

logger = logging.getLogger("pipeframe_async")

THREAD_REMEDY = (
    " (a feed that may block is pulled in a thread of its own: open there what must stay in one thread, inside "
    "`def feed(self)`)"
)
BLOCKING = (Form.SYNC, Form.SYNC_BUCKET, Form.RETURNS)
"""Forms of feeds that are pulled in a thread, or whose function may give one that is."""

WORD_SECONDS = 5.0
"""After which a batch feed that has not ended is worth a word. Sooner speaks of slow ones, later leaves one waiting."""

FIRST = 16
"""Records of a feed in a thread that are taken before any was looked at, and until any were packed. More may be large
ones, fewer cost hand-overs."""
SKIPPED_AT_ONCE = 10_000
"""Records of those that are done which are passed over between two looks at the clock: a millisecond's worth."""
MOST_UNWATCHED = 1_000
"""Records between two looks at the clock. More lets a feed that turns slow keep the loop; fewer cost time."""


class Stopped(Exception):
    """Leaves the pulling loop when no more records are asked for; never leaves this file."""


class Intake:
    """Pulls the feed into the backlog until it ends or is told to stop.

    Args:
        feed: the feed.
        name: the pipeline's.
        books: permits, and where the handles of deliveries are kept.
        backlog: where records go.
        sizer: says how many records the first stage waits for, as things are now.
        timeout: idle seconds, or None.
        dried: called when nothing came for `timeout` seconds while there was room.
        moved: called when the feed pauses after records.
        control: chunks and deliveries are unwrapped; False where what is fed is not the pipeline's own feed's.
        trail: where the feed begins and is; of a job with a checkpoint.
        done: what of it was done in earlier lives.

    Attributes:
        error: what the feed raised; or that it is not the one it was.
        skipping_seconds: until the last of what is done had come once more.
        waits_for_room: and not for the feed.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        name: str,
        books: Books,
        backlog: Backlog,
        sizer: Callable[[], Sizer],
        timeout: float | None,
        dried: Callable[[], None],
        moved: Callable[[], None],
        control: bool = True,
        trail: Trail | None = None,
        done: Done | None = None,
    ) -> None:
        self._trail = trail
        self._skipping = Skipping(done or Done(), 0 if trail is None else trail.skipped)
        self.skipping_seconds = 0.0
        self._moved = moved
        self._feed = feed
        self._control = made if control else frozenset[type]()
        # A list has its records already, and calls have each their own caller: the same may be there twice.
        self._watches = control and not isinstance(feed.value, (list, tuple))
        self._said: int | None = None  # how many records there are, by a feed that is no `Buffered`
        self._exhausted = False  # it has come to its end by itself, and all of it is booked
        self._handles = books.handles
        self._counts = feed.counts
        self._name = name
        self._books = books
        self._ledger = books.ledger
        self._backlog = backlog
        self._freed = books.freed
        self._sizer = sizer
        self._whole = backlog.whole
        self._idle = IdleTimer(None if backlog.whole else timeout, lambda: backlog.entered, dried)
        self._armed = False
        self._breathed = 0.0
        self._unwatched = FIRST
        self._task: asyncio.Task[None] | None = None
        self._source: Buffered | None = None
        self._stopped = False  # no more is asked for
        self._closing = False  # and the feed is to end: a cancel of the task is ours
        self._released = Bell()
        self._ours = False  # what is waited for is ours, and the feed stands at its `yield`
        self._at_yield = False  # the feed stands at its `yield`, or between two calls of `take`
        self.waits_for_room = False  # and not for the feed
        self._cancels = 0  # of our own
        self._insisting: asyncio.TimerHandle | None = None
        self.error: FeedError | CheckpointMismatch | None = None
        self._began: float | None = None
        self._ended: float | None = None
        self._unasked = 0.0  # seconds in which there was no room for more, or no more was wanted

    @property
    def seconds(self) -> float:
        """That the feed itself has taken: those in which it was asked for records, and had not ended."""
        if self._began is None:
            return 0.0
        return (self._ended or time.perf_counter()) - self._began - self._unasked

    @property
    def length(self) -> int | None:
        """How many records the feed has, where it says so and nothing has shown it wrong. Looks only."""
        said, fed = self._said if self._source is None else self._source.length, self._ledger.fed
        wrong = said is not None and (fed > said or (self._exhausted and fed < said))
        return None if wrong else said

    def counts(self) -> SourceCounts:
        """How the source stands with its server, where it has one."""
        return SourceCounts(unacked=self._handles.unanswered) if self._counts is None else self._counts()

    def stop(self) -> None:
        """Ask for no more records: what was handed over is worked off. The feed stays as it is until `close`.

        One that waits for its source may still give the record it was asked for, while others are worked off; it closes
        when they are done. A feed in a thread cannot be held where it is: it is closed first.
        """
        if self._stopped:
            return
        self._stopped = True
        self._idle.stop()
        self._backlog.look_after(0)
        if self._task is None:
            return
        self._freed.ring()  # where it waits for room, it looks around
        if self._source is not None and not self._source.stays:
            self.close()
        elif self._whole:
            self._end()
        else:
            self._backlog.note()
            self._backlog.pause()
            self._books.when_quiet(self._quiet)

    def _quiet(self) -> None:
        """All that was fed has its outcome: the feed is closed, or once its source has heard of it all."""
        if self._books.handles.waiting:
            self._end()
        else:
            self.close()

    @property
    def closing(self) -> bool:
        """Whether the feed has been told to end, and has not."""
        return self._closing and self._task is not None

    def close(self) -> None:
        """Everything is answered, or given up: the feed is cancelled where it waits, and closed."""
        self.stop()
        if not self._closing:
            self._closing = True
            self._released.ring()
            if not self._at_yield:
                self._cancel()

    def _cancel(self) -> None:
        """Cancel the feed; once more after a while, for one that cleans up for ever or does not listen."""
        if self._task is None:
            return
        if self._cancels:
            logger.warning("the feed of %s has not ended %g s after it was stopped", self._name, CLOSE_TIMEOUT)
        self._cancels += 1
        self._task.cancel()
        self._insisting = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._cancel)

    async def run(self) -> None:
        """Pull until the end. An error of the feed is kept in `error`; what was fed before it stays fed."""
        self._task = asyncio.current_task()
        self._breathed = time.perf_counter()
        exhausted = False
        try:
            if not self._stopped:
                await self._pull()
                self._look_for_reuse()
                exhausted = not self._stopped
                if exhausted and self._skipping.missing:
                    self.error = shorter(self._name, self._skipping)
        except Stopped:
            pass
        except asyncio.CancelledError as error:
            if not self._acquit(error):
                self._books.refuse(self._rest()[0])
                raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._blame(error)
        finally:
            self._idle.stop()
            self._task = None
            if self._insisting is not None:
                self._insisting.cancel()
        if self._backlog.ended:  # it was stopped: what came after that is nobody's
            self._books.refuse(self._rest()[0])
        self._end()
        self._exhausted = exhausted

    def _end(self) -> None:
        """No more will come: what was handed over is all there is."""
        if self._backlog.ended:
            return
        self._keep(*self._rest())
        if self.error is not None and self._whole:
            self._backlog.abort()  # a batch whose feed failed has run no step
        self._backlog.end()

    def _rest(self) -> tuple[list[Any], bool]:
        """What the feed had handed over when it was stopped, as `_unpacked` gives it."""
        return ([], False) if self._source is None else self._unpacked(self._source.rest())

    def _keep(self, records: list[Any], deliveries: bool) -> None:
        """Records the feed had handed over when it was stopped are not lost, as far as there are permits for them."""
        if self._whole and self.error is not None:  # it runs no step; and perhaps there is nowhere to keep them
            self._books.refuse(records)
            return
        self._backlog.note()
        room = len(records) if self._whole else self._ledger.room
        self._append(records[:room], deliveries=deliveries)
        self._books.refuse(records[room:])

    def _append(self, records: list[Any], *, deliveries: bool) -> None:
        """Many records into the backlog; `deliveries`: whether some are."""
        if deliveries:
            handed, records, hold = records, [], self._handles.hold
            for position, record in enumerate(handed, self._backlog.entered):
                if isinstance(record, Delivery):
                    hold(position, record)
                    record = record.record
                records.append(record)
        self._backlog.records.extend(records)

    def _acquit(self, error: asyncio.CancelledError) -> bool:
        """Whether a cancel was our own `stop`, or the feed's own doing; anybody else's goes on."""
        task = asyncio.current_task()
        assert task is not None
        requests = task.cancelling()
        if requests > self._cancels:
            return False
        if not self._stopped:
            self._blame(error)
        for _ in range(requests):
            task.uncancel()
        return True

    def _blame(self, error: BaseException) -> None:
        if isinstance(error, (FeedError, CheckpointMismatch)):
            self.error = error
            return
        text = text_of(error)
        if "thread" in text and self._feed.form in BLOCKING:
            text += THREAD_REMEDY
        self.error = FeedError(f"the feed of {self._name} raised {type(error).__name__}: {text}")
        self.error.__cause__ = error

    async def _pull(self) -> None:
        async with opened(self._feed, self._name, self._trail) as feed:
            self._idle.start()
            self._began = time.perf_counter()
            if self._trail is not None:
                self._ledger.skip(self._trail.skipped)
            if isinstance(feed, Listed) and self._whole:
                self._whole = False
                self._backlog.open()
            if self._feed.form is Form.ASYNC and not self._feed.called:
                self._said = length_of(self._feed.value)
            word = asyncio.get_running_loop().call_later(WORD_SECONDS, self._say_that_nothing_runs)
            try:
                await (self._iterate(feed) if isinstance(feed, AsyncIterator) else self._take(feed))
            except Stopped:
                await self._until_closing()
            finally:
                word.cancel()
                self._ended = self._ended or time.perf_counter()
            self._idle.stop()  # the feed has ended; how long it takes to close is no idleness
        # A close that came while the feed was ending has cancelled this task for nothing.
        if self._closing:
            await asyncio.sleep(0)  # it arrives here, and `run` acquits it

    def _say_that_nothing_runs(self) -> None:
        """A batch feed has not ended for a while: it may be one that never does."""
        if self._whole and self._backlog.waiting:
            logger.warning(
                "the feed of %s has not ended for %g s, and no step has run: source='batch', the default, waits for "
                "its end. For a feed that goes on, set source='stream' (and timeout=None, where it may be quiet)",
                self._name,
                WORD_SECONDS,
            )

    async def _until_closing(self) -> None:
        """The feed stands at its `yield`, with all it has opened; it is closed when nobody needs that any more."""
        self._at_yield, self._ended = True, time.perf_counter()
        if self._source is not None:
            self._source.hold()
        self._end()
        try:
            while not self._closing:
                await self._released.wait()  # rung by `close`
        finally:
            self._at_yield = False

    async def _iterate(self, feed: AsyncIterator[Any]) -> None:
        """Pull until its end; a cancel that meets the feed at its `yield`, and is not ours, is its own affair."""
        while True:
            try:
                await self._pull_all(feed)
                return
            except asyncio.CancelledError as error:
                if self._closing or not self._ours or (throw := getattr(feed, "athrow", None)) is None:
                    raise
                self._ours = False
                try:
                    record = await throw(error)  # a timeout or task group in the feed makes of it what it means
                except StopAsyncIteration:
                    return
                await self._extend([record])

    async def _pull_all(self, feed: AsyncIterator[Any]) -> None:
        backlog, records = self._backlog, self._backlog.records
        append = records.append
        control = self._control
        if not self._skipping.over and not await self._pass_over(feed):
            return
        # While the feed waits, lanes take from `records` and `_paused` runs; `stop` cancels here.
        async for record in feed:
            if control and type(record) in control:
                if isinstance(record, Chunk):
                    self._said = None
                    self._ours = True
                    await self._extend(record.records)
                    self._ours = False
                    continue
                self._handles.hold(backlog.entered, record)
                record = record.record
            append(record)
            if len(records) >= backlog.mark:
                self._ours = True
                await self._checkpoint()
                self._ours = False

    async def _pass_over(self, feed: AsyncIterator[Any]) -> bool:
        """Pull what is done, many at a time where nothing else comes between; false where that is all there is."""
        handed, most = list[Any](), self._done_ahead()
        async for record in feed:
            handed.append(record)
            if len(handed) >= most or type(record) in made:
                self._ours = True
                await self._extend(handed)
                self._ours = False
                if self._skipping.over:
                    return True
                handed, most = [], self._done_ahead()
        self._unpacked(handed)
        return False

    def _done_ahead(self) -> int:
        return max(1, min(self._skipping.ahead, SKIPPED_AT_ONCE))

    def _unpacked(self, handed: list[Any]) -> tuple[list[Any], bool]:
        """The records that were handed over, without those that are done; and whether some are deliveries."""
        records, deliveries = _flat(handed)
        return records if self._skipping.over else self._not_done(records), deliveries

    def _not_done(self, records: list[Any]) -> list[Any]:
        """What is done goes no further."""
        fresh = not_done(records, self._skipping, self._books)
        self._idle.touch()
        self._moved()
        if self._began is not None:
            self.skipping_seconds = time.perf_counter() - self._began
        return fresh

    async def _take(self, source: Buffered) -> None:
        self._source = source
        # A stop cancels the wait: what the source holds by then is kept by `run`. What it has handed over is ours.
        while (records := await source.take(self._most())) is not None:
            await self._extend(records)  # there may be less room by now: it waits for more
            if not self._whole and self._skipping.over and self._room < self._worth_asking:
                await self._wait_for_room(lambda: self._worth_asking)
                if self._stopped:
                    raise Stopped

    def _most(self) -> int:
        """Records that are taken at once: few until it is known how large they are; of those that are done, many."""
        if ahead := self._skipping.ahead:
            return min(ahead, SKIPPED_AT_ONCE)
        most = self._room or self._block
        return min(most, FIRST) if self._sizer().measured.guessed else most

    async def _extend(self, handed: list[Any]) -> None:
        """Many records at once: as many as there is room for, then the next."""
        records, deliveries = self._unpacked(handed)
        if not records and handed:
            await self._breathe(now=False)
        at = 0
        try:
            if self._stopped:
                if not self._backlog.ended:
                    at = self._ledger.room
                    self._append(records[:at], deliveries=deliveries)
                    self._backlog.note()
                raise Stopped
            while at < len(records):
                self._backlog.note()
                # It shrinks when a record was large, or some were given back.
                while (room := self._room) == 0 and not self._whole:
                    await self._wait_for_room()
                    if self._stopped:
                        raise Stopped
                piece = records[at : at + (room or self._block)]
                self._append(piece, deliveries=deliveries)  # of a batch feed, what has no room is spilled
                at += len(piece)
                await self._checkpoint()
        finally:
            if at < len(records):
                self._books.refuse(records[at:])

    async def _checkpoint(self) -> None:
        """Book what came in, wake who waits for it, and see to it that the next record has a permit."""
        backlog = self._backlog
        self._look_for_reuse()
        self._weigh()
        if self._stopped:
            if backlog.ended:
                self._ledger.refuse(backlog.disown())  # it came when all the others were done
            else:
                backlog.note()
            raise Stopped
        backlog.note()
        if backlog.spill.full:
            await backlog.spill.write()  # a stop may come meanwhile: it is looked for below
            self._breathed = time.perf_counter()
        taken = len(backlog.records) >= self._sizer().size and not self._whole and backlog.bell.ring()
        if self._room == 0 and not self._whole:
            await self._wait_for_room()
        await self._breathe(now=taken)
        if self._stopped:
            raise Stopped
        # From here to the next record nothing waits but the feed: `_paused` runs when it does.
        if not self._armed and not self._whole:
            self._armed = True
            backlog.flow()
            asyncio.get_running_loop().call_soon(self._paused)
        if self._source is None:  # else records come as many at a time as it has
            backlog.look_after(max(1, min(self._room or self._block, self._unwatched, self._shortfall())))

    def _look_for_reuse(self) -> None:
        """A feed that has yielded an object twice in a row, of which the first still waits, has changed it."""
        if self._watches and (record := used_again(self._backlog.fresh)) is not None:
            self._backlog.abort()  # those that wait may have been changed
            raise FeedError(
                f"the feed of {self._name} yielded the same {type(record).__name__} again, while it still waited from "
                "before: what changes in it changes for both. Yield a new one, or a copy, each time"
            )

    def _weigh(self) -> None:
        """Before any were packed, one record tells how large they are."""
        sizer, backlog = self._sizer(), self._backlog
        if sizer.measured.guessed and backlog.records:
            sizer.measured.weighed(weight(backlog.records[-1]))
            backlog.hold(sizer.most_held)

    @property
    def _room(self) -> int:
        """Records that may be fed now: as many as there are permits, unless those that wait are large."""
        backlog, sizer = self._backlog, self._sizer()
        if self._whole and len(backlog.spill):
            return 0  # nothing may be in front of what is on disk
        most = sizer.most_held if self._whole else sizer.most_waiting
        return min(self._ledger.room, max(0, most - len(backlog.records)))

    @property
    def _block(self) -> int:
        """Records that may be fed without room, before they are bound for the disk."""
        return self._sizer().fitting(BLOCK_BYTES) if self._whole else 1

    def _shortfall(self) -> int:
        """Records until a lane that waits for a full batch can have one."""
        missing = self._sizer().size - len(self._backlog.records)
        return missing if missing > 0 else MOST_UNWATCHED

    def _paused(self) -> None:
        """The loop has come round: the feed is waiting for something."""
        self._armed = False
        self._breathed = time.perf_counter()
        self._idle.touch()
        self._moved()
        self._backlog.look_after(0)  # the next record arms again
        if self._backlog.records:
            self._backlog.pause()

    @property
    def _worth_asking(self) -> int:
        """Room for which a source is asked: with less, each record or two would be a request of their own.

        Of a thread, only where it is for their size that few may wait: what is small comes by the thousand as it is.
        """
        capacity, most = self._ledger.capacity, self._sizer().most_waiting
        return max(1, min(capacity, most) // 4) if most < capacity or isinstance(self._source, Taken) else 1

    async def _wait_for_room(self, least: Callable[[], int] = lambda: 1) -> None:
        """Backpressure. Not idleness: the timer stands still. And a pause: a partial batch may go.

        `least`: how much is waited for, asked at each look: there may be less for ever, once records turn out large.
        """
        self._idle.stop()
        self._backlog.pause()
        self.waits_for_room = True
        began = time.perf_counter()
        try:
            while self._room < least() and not self._stopped:
                await self._freed.wait()  # rung by settling, by what is taken from the backlog, and by `stop`
        finally:
            self.waits_for_room = False
            self._unasked += time.perf_counter() - began
        if not self._stopped:
            self._idle.start()
        self._breathed = time.perf_counter()

    async def _breathe(self, *, now: bool) -> None:
        """Let the loop turn every few milliseconds, and learn how many records that is.

        And `now`, where a lane waits for the batch that is there: it would idle while the next ones are fed.
        """
        spent = time.perf_counter() - self._breathed
        if spent >= BREATH:
            self._unwatched = max(1, self._unwatched // 2)
        if now or spent >= BREATH:
            await asyncio.sleep(0)  # lanes may take, so room and backlog are looked at again after it
            self._breathed = time.perf_counter()
        elif spent < BREATH / 4:
            self._unwatched = min(MOST_UNWATCHED, self._unwatched * 2)


def _flat(handed: list[Any]) -> tuple[list[Any], bool]:
    """Records, and the records of chunks among them; and whether some are deliveries."""
    if not made or made.isdisjoint(kinds := {*map(type, handed)}):
        return handed, False
    if any(issubclass(kind, Chunk) for kind in kinds):
        handed = [record for one in handed for record in (one.records if isinstance(one, Chunk) else (one,))]
        kinds = {*map(type, handed)}
    return handed, any(issubclass(kind, Delivery) for kind in kinds)
