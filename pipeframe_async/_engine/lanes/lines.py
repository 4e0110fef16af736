"""The two kinds of line that batches are cut of: a stretch of the feed, and parts of journeys.

Comes in: records of the backlog; parts, from `journeys`. Goes out: what is taken for a batch; and of its answer,
stretches to collect and records that go on alone. Everything between, from the cut to the answer, is the same for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

from pipeframe_async._engine.feeding.backlog import Backlog, Lot
from pipeframe_async._engine.journeys.journeys import Journeys
from pipeframe_async._engine.lanes.batch import Batch, Taken
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.journey import Part
from pipeframe_async._rules.ledger import Ledger

MOST_ADMITTED = 100
"""Records that begin their journeys at once: about 1 ms. More shows as lag of the loop, fewer cost turns of it."""
NO_LIMIT = 2**62
"""Bytes that parts may have which hold theirs already: they must go on for any to become free."""


class FeedLine:
    """Records as they were fed, a stretch at a time: nobody has to tell them apart until they come back.

    Args:
        backlog: where they wait.
        ledger: the books.
        journeys: of those that go on alone.
        collect: takes the answers of those that do not; true where they are on their way to the consumer.
        last: no steps follow.
        in_portions: children of a long fan-out are taken before its end.
    """

    def __init__(
        self,
        backlog: Backlog,
        ledger: Ledger,
        journeys: Journeys,
        collect: Callable[[Answer], object],
        *,
        last: bool,
        in_portions: bool = False,
    ) -> None:
        self._in_portions = in_portions
        self._backlog = backlog
        self._ledger = ledger
        self._journeys = journeys
        self._collect = collect
        self._last = last

    def fill(self) -> None:
        """Intake does."""

    @property
    def waiting(self) -> int:
        """Records in memory and on disk."""
        return self._backlog.takable

    @property
    def ended(self) -> bool:
        """No more will be fed."""
        return self._backlog.ended

    @property
    def paused(self) -> bool:
        """The feed is waiting for something."""
        return self._backlog.paused

    @property
    def room_bytes(self) -> int:
        """Bytes the ledger has left."""
        return self._ledger.room_bytes

    def take(self, most: int) -> Taken | None:
        """The next stretch."""
        if (lot := self._backlog.take(most)) is None:
            return None
        portion = self._portion if self._in_portions else None
        return Taken(lot.values, lot.first, packed=lot.packed, rejected=lot.rejected, portion=portion)

    def give_back(self, taken: Taken) -> None:
        """To the front of the backlog."""
        assert isinstance(taken.values, list)
        self._backlog.give_back(Lot(taken.first, taken.values))

    def open(self, taken: Taken, nbytes: int) -> None:
        """Book the stretch; some of it may come back for more."""
        assert taken.packed is not None
        self._backlog.left(taken.first, taken.packed.records)
        self._ledger.open(taken.first, taken.packed.records, nbytes)
        self._journeys.sent(taken.packed.records)

    def _portion(self, batch: Batch, answer: Answer) -> bool:
        """To collect, or on to the steps that follow; what is left is another batch by the books."""
        if answer.count:
            left = batch.first + batch.count - answer.first - answer.count
            self._ledger.split(answer.first, [answer.count, left])
            self._ledger.charge(answer.first, answer.nbytes)
        else:
            self._ledger.go_ahead(answer.first, answer.nbytes)
        if self._last:
            return not self._collect(answer)
        self._go_ahead(batch, answer)
        return False

    def _go_ahead(self, batch: Batch, answer: Answer) -> None:
        """The records of a portion go on alone, and what has come of the one under way; it is taken when all are."""
        *ended, ahead = answer.record_by_record()
        if ended:
            self._ledger.split(answer.first, [1] * len(ended))
        under_way = bool(ahead.outcomes) or not ended
        waits = iter(reversed(range(len(ended) + under_way)))

        def taken() -> None:
            if not next(waits) and answer.then is not None:
                answer.then()

        start = answer.first - batch.first
        for index, came in enumerate(ended):
            self._journeys.adopt(answer.first + index, batch.as_fed(start + index), came, taken)
        if under_way:
            nbytes = 0 if ended else answer.nbytes
            at = start + answer.count
            self._journeys.go_ahead(batch.first + at, batch.as_fed(at), ahead, nbytes, taken)

    def answered(self, batch: Batch, answer: Answer) -> bool:
        """To collect, as one; or in pieces, where some of its records go on alone."""
        self._ledger.charge(answer.first, answer.nbytes)
        apart = bool(answer.again) or not self._last
        if apart:
            self._tell_apart(batch, answer)
        else:
            self._collect(answer)
        self._journeys.came_back(batch.count)
        return apart

    def _tell_apart(self, batch: Batch, answer: Answer) -> None:
        """Those with another attempt or steps before them go on alone; the stretches between, to the consumer."""
        stretches = list(answer.without(answer.again)) if self._last else []
        alone = answer.again if self._last else set(range(answer.count))
        counts = {stretch.first: stretch.count for stretch in stretches}
        counts.update({answer.first + index: 1 for index in alone})
        self._ledger.split(answer.first, [counts[first] for first in sorted(counts)])
        for stretch in stretches:
            self._collect(stretch)
        start = answer.first - batch.first  # after portions, another than 0
        for index, came in enumerate(answer.record_by_record()):
            if index in alone:
                self._journeys.adopt(answer.first + index, batch.as_fed(start + index), came)


class PartLine:
    """Parts of journeys that wait for a lane; or for the one lane that their key is tied to.

    Args:
        index: which stage of the run waits for them.
        backlog: where records wait that may begin.
        ledger: the books.
        journeys: whose parts they are.
        sizer: how many make a batch.
        admits: records begin their journeys here.
        tied: they may go to one lane only, and what waits in the backlog may be for others.
    """

    def __init__(
        self,
        index: int,
        *,
        backlog: Backlog,
        ledger: Ledger,
        journeys: Journeys,
        sizer: Callable[[], Sizer],
        admits: bool,
        tied: bool,
    ) -> None:
        self._index = index
        self._backlog = backlog
        self._ledger = ledger
        self._journeys = journeys
        self._sizer = sizer
        self._admits = admits
        self._tied = tied
        self._parts: dict[Part, None] = {}  # in order; a dict, for they leave from anywhere
        self._again: dict[Part, None] = {}  # tried before: they hold their bytes, and what waits behind them holds more

    def __len__(self) -> int:
        return len(self._parts) + len(self._again)

    def append(self, part: Part) -> None:
        """It waits from now on; one that was tried before goes first, and needs no room: others may wait for it."""
        (self._again if part.attempts else self._parts)[part] = None
        part.goes_to(self)

    def withdraw(self, part: Part) -> bool:
        """It waits no more."""
        del (self._again if part.attempts else self._parts)[part]
        return True

    def clear(self) -> list[Part]:
        """Remove the parts that wait."""
        gone, self._parts, self._again = [*self._again, *self._parts], {}, {}
        return gone

    @property
    def _first(self) -> dict[Part, None]:
        return self._again or self._parts

    def fill(self) -> None:
        """Let records begin until this line has a batch; not too many at once, for most may be for other lines."""
        if not self._admits:
            return
        size, backlog = self._sizer().size, self._backlog
        most = backlog.position + MOST_ADMITTED
        self._admit(size, most)
        while self._journeys.sorted_out(islice(self._parts, size)):
            self._admit(size, most)
        if len(self) < size and backlog.position >= most:
            asyncio.get_running_loop().call_soon(backlog.bell.ring)  # and more of them in the next turn

    def _admit(self, size: int, most: int) -> None:
        backlog = self._backlog
        self._journeys.admit(lambda: min(size - len(self), most - backlog.position))

    @property
    def waiting(self) -> int:
        """Parts; and records that will be some, where all of them come here."""
        if self._again:
            return len(self._again)
        if not self._parts:
            return 0
        return len(self._parts) + (self._backlog.waiting if self._admits and not self._tied else 0)

    @property
    def ended(self) -> bool:
        """No more will be fed; but parts may still come from other stages."""
        return self._backlog.ended

    @property
    def paused(self) -> bool:
        """Always: parts come from lanes and the loop, and nobody knows when the next one will."""
        return True

    @property
    def room_bytes(self) -> int:
        """Bytes the ledger has left, for records that begin; any number for those that hold theirs."""
        return self._ledger.room_bytes if self._admits and not self._again else NO_LIMIT

    def take(self, most: int) -> Taken:
        """The first parts. They stay here until they are a batch."""
        parts = list(islice(self._first, most))
        return Taken([self._journeys.thaw(part.value) for part in parts], parts=parts)

    def give_back(self, taken: Taken) -> None:
        """They are still here."""

    def open(self, taken: Taken, nbytes: int) -> None:
        """They are under way; the bytes of those that begin are booked, record by record."""
        line = self._first
        if self._index == 0:
            self._journeys.begin(taken.parts)
        for part in taken.parts:
            del line[part]
            if self._index == 0:
                self._ledger.charge(part.journey.position, nbytes // len(taken.parts))

    def answered(self, batch: Batch, answer: Answer) -> bool:
        """Each goes on by itself; a journey that has no other parts holds what this one came to."""
        nbytes = answer.nbytes // answer.count
        for part, came in zip(batch.parts, answer.record_by_record(), strict=True):
            if len(part.journey.parts) == 1:
                self._ledger.charge(part.journey.position, nbytes)
            self._journeys.came(part, came, (self._index, 0), (self._index + 1, 0))
        return True
