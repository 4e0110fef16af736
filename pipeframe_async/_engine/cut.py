"""The backlog cut into batches, when a lane has room and not before, and pickled here on the loop.

Pickling on the loop costs half of what it costs in the pool's thread, and a record that cannot be pickled is
known at once. Never more payload than the ledger has room for: what does not fit goes back and waits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Batch, too_large
from pipeframe_async._engine.places import Places
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async.wire import Live, Packed


class Cutter:
    """Makes batches.

    Args:
        backlog: where records wait.
        places: say where it goes, and how.
        step: the first step's name, for the failures of records that have no bytes.
        ledger: the books.
        sizer: how many records a batch takes.
        ship: whether results come back, and need room for bytes too.
        numbers: counts batches.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        places: Places,
        step: str,
        ledger: Ledger,
        sizer: Sizer,
        ship: bool,
        numbers: Iterator[int],
    ) -> None:
        self._backlog = backlog
        self._places = places
        self._step = step
        self._ledger = ledger
        self._sizer = sizer
        self._ship = ship
        self._numbers = numbers
        self._position = 0  # in the feed, of the next record to be cut
        self.starved = False  # records wait for bytes or permits to come free

    def cut(self, *, idle: bool, idle_workers: int, workers: int) -> Batch | None:
        """The next batch for a lane, or None where none should go now.

        Args:
            idle: whether the lane has a worker with nothing to do.
            idle_workers: how many there are in all lanes.
            workers: all workers.
        """
        backlog, sizer = self._backlog, self._sizer
        if backlog.held or not (waiting := backlog.waiting):
            return None
        left = waiting if backlog.ended else None
        if not idle and (idle_workers or not sizer.worth_queueing(left, workers)):
            return None
        if waiting < sizer.size and not (backlog.ended or (backlog.paused and idle)):
            return None
        room = self._ledger.room_bytes
        size = sizer.cut(waiting, ended=backlog.ended, idle=idle_workers, workers=workers, room_bytes=room)
        if not size and not self._ledger.in_flight_bytes:
            size = 1
        batch = self._from_memory(size) if backlog.records else self._from_disk(size)
        self.starved = batch is None
        return batch

    def _from_memory(self, size: int) -> Batch | None:
        if not size:
            return None
        started = time.perf_counter()
        records = self._backlog.take(size)
        place = self._places.now
        packed, rejected = place.codec.pack(records, self._step)
        seconds = time.perf_counter() - started
        if isinstance(packed.data, Live):  # nobody knows what it would be in bytes: as the last ones that had some
            packed = packed._replace(data=Live(packed.data.values, self._sizer.record_bytes(size)))
        else:
            self._sizer.packed(size, packed.nbytes, seconds)
        if packed.nbytes > self._ledger.room_bytes:
            if self._ledger.in_flight_bytes or size > 1:
                self._backlog.give_back(records)
                return None if self._ledger.in_flight_bytes else self._from_memory(size // 2)
            rejected[0] = too_large(records[0], self._step, packed.nbytes, self._ledger.capacity_bytes)
            packed = Packed(1, (b"",))
        return self._opened(Batch(-1, self._position, packed, records, rejected, place, seconds))

    def _from_disk(self, size: int) -> Batch | None:
        size = min(size, self._ledger.room)
        packed, rejected = self._backlog.spill.take(size, self._ledger.room_bytes)
        if not packed.records:
            return None
        self._ledger.unspill(packed.records)
        return self._opened(Batch(-1, self._position, packed, None, rejected, self._places.now))

    def _opened(self, batch: Batch) -> Batch:
        """Number the batch and book it: with its bytes, or those its results are likely to have."""
        batch.number = next(self._numbers)
        self._position += batch.count
        likely = self._sizer.expected_bytes(batch.count) if self._ship else 0
        within = min(likely, self._ledger.room_bytes)
        self._ledger.open(batch.first, batch.count, max(batch.packed.nbytes, within))
        return batch
