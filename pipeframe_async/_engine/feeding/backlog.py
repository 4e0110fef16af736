"""Records that were fed and wait to be taken. Intake appends bare; lanes and journeys take from the front.

It is a plain list, because `append` on it is all the hot loop of the feed does; what was appended since the
last look is noted in the ledger by whoever looks next. Feed positions are counted here and nowhere else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.feeding.spill import Spill
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._rules.backlog_life import BacklogLife
from pipeframe_async._rules.waits import Waits
from pipeframe_async.model import AnyFailure
from pipeframe_async.wire import Packed


@dataclass(slots=True)
class Lot:
    """Records that were taken from the front: live values, or the bytes they have on disk.

    Attributes:
        first: feed position of the first.
        values: live; None where they come from disk.
        packed: their bytes; None where nobody has made any yet.
        rejected: by index, the failures of records that are given to no step.
    """

    first: int
    values: list[Any] | None
    packed: Packed | None = None
    rejected: dict[int, AnyFailure] = field(default_factory=dict)


class Backlog:
    """The queue between intake and those who take.

    Args:
        books: permits.
        spill: takes what has no permit.
        bell: rings when there may be something to take.
        whole: a batch feed: nothing may be taken until it has ended.

    Attributes:
        records: what waits in memory, in feed order. Intake appends to it, and nobody else writes.
        spill: what waits on disk, after it in feed order.
        mark: length of `records` at which intake stops to look around; moves when records are taken.
        position: in the feed, of the next record to be taken.
        paused: the feed is waiting for something, so a partial batch may go.
        whole: it is a batch feed.
        waits: how long records do.
    """

    def __init__(self, books: Books, spill: Spill, bell: Bell, *, whole: bool) -> None:
        self.records: list[Any] = []
        self.spill = spill
        self.bell = bell
        self.mark = 0
        self.position = 0
        self.paused = False
        self._books = books
        self._ledger = books.ledger
        self._life = BacklogLife(whole=whole)
        self.whole = whole
        self._most = self._ledger.capacity
        self.waits = Waits()
        self._noted = 0  # how many of `records` are in the books

    def __repr__(self) -> str:
        return f"<{self._life.state.name}, {self.waiting} waiting, paused {self.paused}, mark {self.mark}>"

    @property
    def waiting(self) -> int:
        """Records that wait, in memory and on disk."""
        return len(self.records) + len(self.spill)

    @property
    def takable(self) -> int:
        """Records that wait and may be taken."""
        return self.waiting if self._life.may_take else 0

    @property
    def held(self) -> bool:
        """Nothing may be taken: a batch feed is still running, or what waits was given up."""
        return not self._life.may_take

    @property
    def ended(self) -> bool:
        """No more will come."""
        return self._life.ended

    @property
    def exhausted(self) -> bool:
        """Nothing that may be taken waits, and nothing will come."""
        return self._life.ended and not self.takable

    @property
    def entered(self) -> int:
        """Records ever put in: the feed position of the next one."""
        return self.position + len(self.records) + len(self.spill)

    @property
    def unbooked(self) -> int:
        """Records appended since the last look. Looks only, so any thread may ask."""
        return max(0, len(self.records) - self._noted)

    @property
    def fresh(self) -> list[Any]:
        """Records appended since the last look, and the one before them, where that still waits."""
        return self.records[max(0, self._noted - 1) :]

    def hold(self, most: int) -> None:
        """So many records may be in memory, as large as they are; of a batch feed the rest goes to disk."""
        self._most = most

    def note(self) -> None:
        """Book what was appended since the last time: with a permit each, or bound for the disk."""
        if len(self.records) > self._noted:
            self.waits.fed(self.entered, time.perf_counter())
        if self.whole:
            self._overflow()
        if new := len(self.records) - self._noted:
            self._ledger.admit(new)
            self._noted += new

    def _overflow(self) -> None:
        """Beyond the permits there are, and beyond what memory may hold; once there is any, all that comes after it."""
        fits = 0 if len(self.spill) else max(0, min(self._ledger.room, self._most - self._noted))
        if (over := self.unbooked - fits) <= 0:
            return
        for record in self.records[-over:]:
            self.spill.put(record)
        del self.records[-over:]
        self._ledger.spill(over)

    def look_after(self, records: int) -> None:
        """Intake looks around again when so many more were appended; 0: at the next one."""
        self.mark = len(self.records) + records if records else 0

    def open(self) -> None:
        """All records of a batch feed are there: they may be taken as those of a stream, and none goes to disk."""
        self._life.open()
        self.whole = False

    def flow(self) -> None:
        """The feed hands over records."""
        self.paused = False

    def pause(self) -> None:
        """The feed waits for something: what there is may go."""
        self.paused = True
        self.bell.ring()

    def disown(self) -> int:
        """Remove what was appended since the last look, and say how many that were: they came when all had ended."""
        late = self.unbooked
        del self.records[self._noted :]
        return late

    def take(self, most: int) -> Lot | None:
        """Remove the first so many records in memory; or of those on disk, as many as there are permits and bytes for.

        None where there are none, and none for now: who asked is rung when more came free, or was read.

        Raises:
            FeedError: they cannot be read.
        """
        if self.records:
            return self._from_memory(most)
        ledger = self._ledger
        packed, rejected = self.spill.take(min(most, ledger.room), max(0, ledger.room_bytes), alone=ledger.alone)
        if not packed.records:
            self._books.want_room()
            return None
        self._ledger.unspill(packed.records)
        lot = Lot(self.position, None, packed, rejected)
        self.position += packed.records
        return self._looked_at(lot, packed.records)

    def _from_memory(self, most: int) -> Lot:
        self.note()
        lot = Lot(self.position, self.records[:most])
        del self.records[:most]
        self._moved(len(lot.values or ()))
        self._books.freed.ring()  # large records that wait are bounded apart from permits: there may be room now
        return self._looked_at(lot, len(lot.values or ()))

    def _looked_at(self, lot: Lot, count: int) -> Lot:
        """With the failures of those that failed before any step had them."""
        for position, failure in self._books.handles.refused.items():
            if lot.first <= position < lot.first + count:
                lot.rejected[position - lot.first] = failure
        return lot

    def left(self, first: int, records: int) -> None:
        """So many records, from this feed position on, were taken for good."""
        self.waits.taken(first, first + records, time.perf_counter())

    def give_back(self, lot: Lot) -> None:
        """Put records that could not be sent yet back to the front."""
        assert lot.values is not None  # what comes from disk was taken to measure
        self.records[:0] = lot.values
        self._moved(-len(lot.values))

    def _moved(self, taken: int) -> None:
        self._noted -= taken
        self.mark -= taken
        self.position += taken

    def end(self) -> None:
        """No more will come."""
        self._life.end()
        self.note()
        self.bell.ring()

    def abort(self) -> None:
        """Give up whatever waits, and let no more be taken: feed positions have a gap now."""
        self._life.abort()
        self.note()
        first, self.position = self.position, self.entered
        self.records.clear()
        self._noted = 0
        self.spill.close()
        self._books.give_up_waiting(first, self.position)
        self.bell.ring()

    def close(self) -> None:
        """The run is over: book what came in last, and give the disk space back. Never raises."""
        self._ledger.refuse(max(0, self.unbooked - self._ledger.room))
        del self.records[self._noted + self._ledger.room :]
        self.note()
        self.spill.close()
