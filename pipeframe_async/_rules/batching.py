"""How many records go into the next batch.

There is no knob and no linger: while every lane is busy the backlog grows, and a lane that has room takes
from it. How much it takes follows the measured time per record, so that a batch is worth its hop and yet
short enough for lanes to finish together; the batch's bytes and the parent's own time per record bound it.
A batch that is run beside the loop has bounds of its own: a table with a row for each kind of place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, inf

TARGET_SECONDS = 0.015
"""Worker time of a full batch. A hop costs 0.1 ms: below 2 ms it shows, above 50 ms lanes finish apart."""
HOP_SECONDS = 0.0001
"""What it takes for a batch to get to a worker of this machine and back. Where it is longer, lanes tell."""
HOPS = 30
"""A full batch has this many times the work of its hop, where that comes to more than `TARGET_SECONDS`: 45 ms at the
1.5 ms of CPU of a Dask worker's. With ten times the rate was a tenth lower there, see decision 0027."""
MOST_SECONDS = 0.5
"""Work of a full batch, however far it goes. Longer makes lanes finish apart, and more to be run again at a death."""
TAIL_HOPS = 10
"""What half of a lane's share of the last records has to cost in hops, to be sent by itself."""
REMEMBERED_HOPS = 8
"""The middle one of so many counts: single ones have waited for the loop."""
FLOOR_SECONDS = 0.001
"""Worker time the tail is not cut below: smaller and the hops, of 0.1 ms, cost more than the balance gains."""
PARENT_SECONDS = 0.003
"""Longest pickling or unpickling of one batch on the loop. Larger shows as lag, smaller pays more hops."""
HANDLING_SECONDS = 0.001
"""Longest telling apart of the records of one batch. Shorter than that above, for each of them costs the loop
microseconds in other places too."""
MAX_RECORDS = 4_000
"""Most records a batch, however cheap. More gains nothing measurable and shows as loop lag."""
MAX_BYTES = 4 * 2**20
"""Most payload a batch, unless one record alone is larger. More only adds memory."""
WAITING_BYTES = 16 * 2**20
"""Payload of records that wait to be cut, where they are so large that it comes to more. Fewer let lanes wait for the
feed, more fall out of the processor's cache and fill the memory."""
BESIDE_SECONDS = 0.004
"""Work of a full batch that is run beside the loop, in the same process. Steps of Python code keep the GIL for as long
as the interpreter lets them, 5 ms: longer batches let the loop lag by that much more often, below 1 ms the hop
between the threads shows."""
BESIDE_BYTES = 16 * 2**20
"""Most bytes of records a batch there. It copies nothing, so this only bounds memory; from 4 MiB down the hop shows."""
BESIDE_WAITING_BYTES = 16 * 2**20
"""Payload of large records that wait for a thread there. More are out of the processor's caches when their turn
comes, which a plain loop's never are; with less batches are so small that their hops show."""
MAX_GROWTH = 16
"""A batch is at most this many times the largest measured one: first records are not always typical."""
QUEUE_SECONDS = 0.05
"""Longest batch that is sent to a lane while it works on another. A longer one would wait where a free lane
cannot take it; a shorter one hides the hop."""
MEMORY = 0.8
"""Weight that measurements keep when the next one comes in: about five batches are remembered."""
SUDDEN = 2.0
"""Records that turn this many times slower than remembered make the past void at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large batches may be at one kind of place.

    Attributes:
        seconds: work of a full batch.
        parent_seconds: longest packing or unpacking of one batch on the loop.
        most_bytes: most payload a batch.
        waiting_bytes: payload of records that wait to be cut, where they are so large that it comes to `many_bytes`.
        many_bytes: payload that any number of records may come to before fewer wait.
        least_waiting: records that wait, however large.
        queues: batches wait there for their turn, so each slot should find a full one to cut.
    """

    seconds: float
    parent_seconds: float
    most_bytes: int
    waiting_bytes: int
    many_bytes: int
    least_waiting: int
    queues: bool


AWAY = Bounds(TARGET_SECONDS, PARENT_SECONDS, MAX_BYTES, WAITING_BYTES, WAITING_BYTES, 1, queues=True)
"""In a worker."""
BESIDE = Bounds(BESIDE_SECONDS, inf, BESIDE_BYTES, BESIDE_WAITING_BYTES, WAITING_BYTES, 2, queues=False)
"""In a thread of this process."""
THREADS = replace(BESIDE, queues=True)
"""In several, without a GIL. A batch takes little to get there, so it may stay as short as beside the loop: the first
ones are a trial, and may turn out several times longer."""


class Measured:
    """What the batches of one segment were measured to take, wherever they were run.

    Attributes:
        record_bytes, result_bytes: of one, pickled, or as it is; the first is `guessed` until one was packed.
        parent_seconds: of packing one.
        handling_seconds: of telling apart what one came to.
        largest: records of the largest batch that was answered.
        hop_seconds: what a batch is on its way, there and back.
        changes: counts measurements.
    """

    def __init__(self) -> None:
        self._hops: deque[float] = deque(maxlen=REMEMBERED_HOPS)
        self.hop_seconds = HOP_SECONDS
        self._seconds = self._records = 0.0
        self.record_bytes = self.result_bytes = self.parent_seconds = self.handling_seconds = 0.0
        self.largest = self.changes = 0
        self.guessed = True  # nothing was packed yet

    @property
    def record_seconds(self) -> float:
        """Worker seconds a record, as remembered; 0 before the first reply."""
        return self._seconds / self._records if self._records else 0.0

    @property
    def any(self) -> bool:
        """Whether there was a reply."""
        return bool(self._records)

    def weighed(self, nbytes: int) -> None:
        """A record was looked at, and is likely to have so many bytes; counts until one was packed."""
        if self.guessed:
            self.record_bytes = _blend(self.record_bytes, nbytes)
            self.changes += 1

    def packed(self, records: int, nbytes: int, seconds: float | None) -> None:
        """A batch was pickled: so many bytes, in so many seconds of the loop; None where beside it."""
        self.record_bytes = nbytes / records if self.guessed else _blend(self.record_bytes, nbytes / records)
        self.guessed = False
        if seconds is not None:
            self.parent_seconds = _blend(self.parent_seconds, seconds / records)
        self.changes += 1

    def handled(self, records: int, seconds: float) -> None:
        """What came of a batch was told apart, record by record, in so many seconds of the loop's time."""
        self.handling_seconds = _blend(self.handling_seconds, seconds / records)
        self.changes += 1

    def hopped(self, seconds: float) -> None:
        """A batch was on its way for so long."""
        self._hops.append(seconds)
        self.hop_seconds = max(HOP_SECONDS, sorted(self._hops)[(len(self._hops) - 1) // 2])
        self.changes += 1

    def replied(self, records: int, nbytes: int, seconds: float) -> None:
        """A batch was run: its worker's seconds, and the bytes of its results."""
        if self._records and seconds / records > SUDDEN * self.record_seconds:
            self._seconds = self._records = 0.0
        self._seconds = MEMORY * self._seconds + seconds
        self._records = MEMORY * self._records + records
        self.result_bytes = _blend(self.result_bytes, nbytes / records)
        self.largest = max(self.largest, records)
        self.changes += 1


class Sizer:
    """Answers with sizes, by what was measured so far.

    Args:
        fixed: the user's `batch_size`, or None.
        capacity: `buffer_size`: records between feed and consumer.
        capacity_bytes: `buffer_bytes`.
        slots: how many batches the lanes hold at once, all together; a function where lanes come and go.
        at_once: records that a step has in one call, at most: a full batch has as many, whatever they take, where
            buffer, bytes and deadlines allow it.
        bounds: of the place where the batches are run.
        measured: shared with the sizers of other places; by default one of its own.
    """

    def __init__(
        self,
        *,
        fixed: int | None,
        capacity: int,
        capacity_bytes: int,
        slots: int | Callable[[], int],
        at_once: int = 1,
        bounds: Bounds = AWAY,
        measured: Measured | None = None,
    ) -> None:
        self.measured = measured or Measured()
        self.packed, self.handled, self.replied = self.measured.packed, self.measured.handled, self.measured.replied
        self.hopped = self.measured.hopped
        self._bounds = bounds
        self._fixed = None if fixed is None else min(fixed, capacity)
        self._slots = slots if callable(slots) else partial(int, slots)
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._at_once = at_once
        self._size = self._fixed or 1
        self._seen = 0
        self._within = inf

    def at(self, bounds: Bounds) -> Sizer:
        """The sizes at another place, by the same measurements."""
        return Sizer(
            fixed=self._fixed,
            capacity=self._capacity,
            capacity_bytes=self._capacity_bytes,
            slots=self._slots,
            at_once=self._at_once,
            bounds=bounds,
            measured=self.measured,
        )

    def keep_within(self, seconds: float) -> None:
        """A full batch has no more work than this, if that is less than it would have: somebody has a deadline."""
        if seconds != self._within:
            self._within, self._seen = seconds, -1

    @property
    def full_seconds(self) -> float:
        """Work of a full batch, so that it is worth its hop."""
        if not self._bounds.queues:
            return self._bounds.seconds
        return max(self._bounds.seconds, min(MOST_SECONDS, HOPS * self.measured.hop_seconds))

    @property
    def size(self) -> int:
        """Records of a full batch."""
        if self._seen != self.measured.changes:
            self._resize()
        return self._size

    @property
    def record_seconds(self) -> float:
        """Worker seconds a record, as remembered; 0 before the first reply."""
        return self.measured.record_seconds

    def worth_queueing(self, left: int | None, workers: int) -> bool:
        """Whether a lane that is at work should be given a batch to go on with.

        Args:
            left: how many records there still are; None while that is not known. Of the last ones none waits behind
                another, where a lane that is done before could take it: unless they are done before it could ask.
            workers: all workers.
        """
        full = self.full_seconds
        if left is not None and self.measured.hop_seconds < self.record_seconds * left / workers < 2 * full:
            return False
        return 0.0 < self.record_seconds * self.size <= max(QUEUE_SECONDS, full)

    @property
    def most_waiting(self) -> int:
        """How many records may wait to be cut: any number of small ones, of large ones a batch for every slot."""
        each = self.measured.record_bytes
        bounds = self._bounds
        if each * self._capacity <= bounds.many_bytes:
            return self._capacity
        full = self._slots() * self.size if bounds.queues else 0
        return max(full, int(bounds.waiting_bytes / each), bounds.least_waiting)

    @property
    def most_held(self) -> int:
        """How many records may be in memory, as large as they are."""
        each = self.measured.record_bytes
        return self._capacity if each * self._capacity <= self._capacity_bytes else int(self._capacity_bytes / each)

    def fitting(self, nbytes: int) -> int:
        """How many records come to no more than so many bytes; at least one."""
        return max(1, _how_many(self.measured.record_bytes, nbytes))

    def expected_bytes(self, records: int) -> int:
        """What so many records are likely to hold on the way out or back, whichever is more."""
        return ceil(records * max(self.measured.record_bytes, self.measured.result_bytes))

    def record_bytes(self, records: int) -> int:
        """What so many records would be, as those that were pickled last."""
        return ceil(records * self.measured.record_bytes)

    def cut(self, waiting: int, *, ended: bool, idle: int, workers: int, room_bytes: int) -> int:
        """How many of the waiting records the next batch takes; 0: wait for bytes to be free.

        Args:
            waiting: records that wait for a lane.
            ended: whether no more will come: then the rest is shared out so that lanes finish together.
            idle: workers with nothing to do.
            workers: all workers.
            room_bytes: payload bytes that may still be taken.
        """
        size = min(self.size, waiting)
        if self._fixed is None:
            if ended:
                least = ceil(waiting / (2 * workers))
                if self.measured.any:
                    # In one go, where a second hop costs more than the balance gains. None grows while less waits.
                    worth = _how_many(self.record_seconds, TAIL_HOPS * self.measured.hop_seconds)
                    floor = _how_many(self.record_seconds, FLOOR_SECONDS)
                    least = max(least, floor, min(worth, ceil(waiting / workers)), self._least_call(waiting, workers))
                size = min(size, max(1, least))
            elif idle:
                size = min(size, ceil(waiting / idle))
        each = max(self.measured.record_bytes, self.measured.result_bytes)
        if room_bytes < 0:
            return 0
        return size if size * each <= room_bytes else int(room_bytes / each)

    def _least_call(self, waiting: int, workers: int) -> int:
        """Of the last records those that stay together for a call: a worker's share; more, where it is soon done."""
        return min(self._at_once, max(ceil(waiting / workers), _how_many(self.record_seconds, self.full_seconds)))

    def _resize(self) -> None:
        measured, bounds = self.measured, self._bounds
        self._seen = measured.changes
        if self._fixed is not None or not measured.any:
            return
        slots = max(1, self._slots())
        most = min(
            MAX_RECORDS,
            self._capacity // slots,
            MAX_GROWTH * measured.largest,
            _how_many(measured.record_seconds, self._within),
            _how_many(
                max(measured.record_bytes, measured.result_bytes),
                max(1, min(bounds.most_bytes, self._capacity_bytes // slots)),
            ),
        )
        worth = min(
            _how_many(measured.record_seconds, self.full_seconds),
            _how_many(measured.parent_seconds, bounds.parent_seconds),
            _how_many(measured.handling_seconds, HANDLING_SECONDS),
        )
        self._size = max(1, min(most, max(worth, self._at_once)))


def _how_many(each: float, within: float) -> int:
    """How many of a size fit; any number of nothing, as far as sizes go."""
    return int(within / each) if each * MAX_RECORDS > within else MAX_RECORDS


def _blend(old: float, new: float) -> float:
    return new if new > SUDDEN * old else MEMORY * old + (1 - MEMORY) * new
