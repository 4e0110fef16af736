"""A run of `def` steps: batches for the lanes, and what came of them.

Comes in: records of the backlog where they go by the batch, else parts of journeys. Goes out: answers to collect, or
what each part came to. A lane takes from the last stage that has something: what is nearest to its end goes first.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Answer, Batch, too_large
from pipeframe_async._engine.carry import Carrier
from pipeframe_async._engine.cut import Cutter
from pipeframe_async._engine.journeys import Journeys
from pipeframe_async._engine.places import Places
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.journey import Journey, Part
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async.contracts import Lane
from pipeframe_async.wire import Live, Packed

MOST_ADMITTED = 100
"""Records that begin their journeys at once: about 1 ms. More shows as lag of the loop, fewer cost turns of it."""
NO_LIMIT = 2**62
"""Bytes that parts may have which hold theirs already: they must go on for any to become free."""


class DefStage:
    """One run of def steps.

    Args:
        index: which stage of the run it is.
        step: its first step's name, for the failures of records that have no bytes.
        cutter: makes batches of the backlog, where records go through this stage only and need not be told apart.
        places, sizer, carrier: where its batches are run, how large they are, and who has them run.
        ledger: the books.
        backlog: where records wait; its bell wakes the lanes.
        journeys: whose parts come.
        collect: takes the answers of batches.
        numbers: counts batches.
        tied: parts go to the lane of their journey.
        ship: results come back, and need room for bytes too.
    """

    on_the_loop = False

    def __init__(
        self,
        index: int,
        step: str,
        *,
        cutter: Cutter | None,
        places: Places,
        sizer: Sizer,
        carrier: Carrier,
        ledger: Ledger,
        backlog: Backlog,
        journeys: Journeys,
        collect: Callable[[Answer], None],
        numbers: Iterator[int],
        tied: bool,
        ship: bool,
    ) -> None:
        self._index = index
        self._step = step
        self._cutter = cutter
        self.places = places
        self._sizer = sizer
        self.carrier = carrier
        self._ledger = ledger
        self._backlog = backlog
        self._journeys = journeys
        self._collect = collect
        self._numbers = numbers
        self._tied = tied
        self._ship = ship
        self._lines: dict[int | None, deque[Part]] = {}
        self._starved = False

    def __repr__(self) -> str:
        return f"<{sum(map(len, self._lines.values()))} waiting>"

    @property
    def starved(self) -> bool:
        """Records wait for bytes or permits to come free."""
        return self._starved or (self._cutter is not None and self._cutter.starved)

    def put(self, part: Part) -> None:
        """It waits for a lane."""
        self._line(part.journey.lane).append(part)
        self._backlog.bell.ring()

    def clear(self, journey: Journey | None = None) -> list[Part]:
        """Remove the parts that wait."""
        taken: list[Part] = []
        for line in self._lines.values():
            gone = [part for part in line if journey is None or part.journey is journey]
            for part in gone:
                line.remove(part)
            taken += gone
        return taken

    def _line(self, lane: int | None) -> deque[Part]:
        if (line := self._lines.get(lane)) is None:
            line = self._lines[lane] = deque()
        return line

    def cut(self, lane: int, *, idle: bool, idle_workers: int, workers: int) -> Batch | None:
        """The next batch for a lane, or None where none should go now; as `Cutter.cut`, and the lane's number."""
        if self._tied:
            idle_workers, workers = int(idle), 1  # no other lane may have these
        if (batch := self._of_parts(lane, idle=idle, idle_workers=idle_workers, workers=workers)) is not None:
            return batch
        if self._cutter is None:
            return None
        return self._cutter.cut(idle=idle, idle_workers=idle_workers, workers=workers)

    def _of_parts(self, lane: int, *, idle: bool, idle_workers: int, workers: int) -> Batch | None:
        backlog, sizer, line = self._backlog, self._sizer, self._line(lane if self._tied else None)
        if admits := self._index == 0 and self._cutter is None:
            self._admit(line)
        if not line:
            return None
        waiting = len(line) + (backlog.waiting if admits and not self._tied else 0)
        left = waiting if backlog.ended else None
        if not idle and (idle_workers or waiting < sizer.size or not sizer.worth_queueing(left, workers)):
            return None
        room = self._ledger.room_bytes if admits else NO_LIMIT
        size = sizer.cut(waiting, ended=backlog.ended, idle=idle_workers, workers=workers, room_bytes=room)
        if not size and not self._ledger.in_flight_bytes:
            size = 1
        batch = self._made(line, min(size, len(line)), room, charged=self._index == 0)
        self._starved = batch is None
        return batch

    def _admit(self, line: deque[Part]) -> None:
        """Let records begin until this line has a batch; not too many at once, for most may be for other lines."""
        most = self._journeys.begun + MOST_ADMITTED
        self._journeys.admit(lambda: min(self._sizer.size - len(line), most - self._journeys.begun))
        if len(line) < self._sizer.size and self._journeys.begun >= most:
            asyncio.get_running_loop().call_soon(self._backlog.bell.ring)

    def _made(self, line: deque[Part], size: int, room: int, *, charged: bool) -> Batch | None:
        if not size:
            return None
        parts = list(islice(line, size))
        place, values = self.places.now, [self._journeys.thaw(part.value) for part in parts]
        started = time.perf_counter()
        packed, rejected = place.codec.pack(values, self._step)
        seconds = time.perf_counter() - started
        if isinstance(packed.data, Live):
            packed = packed._replace(data=Live(packed.data.values, self._sizer.record_bytes(size)))
        else:
            self._sizer.packed(size, packed.nbytes, seconds)
        if packed.nbytes > room:
            if self._ledger.in_flight_bytes:
                return None
            if size > 1:
                return self._made(line, size // 2, room, charged=charged)
            rejected[0] = too_large(values[0], self._step, packed.nbytes, self._ledger.capacity_bytes)
            packed = Packed(1, (b"",))
        for _ in parts:
            line.popleft()
        if charged:
            likely = self._sizer.expected_bytes(size) if self._ship else 0
            nbytes = max(packed.nbytes, min(likely, room))
            for part in parts:
                self._ledger.charge(part.journey.position, nbytes // size)
        return Batch(next(self._numbers), -1, packed, values, rejected, place, seconds, parts)

    async def carry(self, lane: Lane, batch: Batch) -> Callable[[], None]:
        """Have a batch run; returns what hands on its answer."""
        answer = await self.carrier.carry(lane, batch)
        return lambda: self._carried(batch, answer)

    def _carried(self, batch: Batch, answer: Answer) -> None:
        if not batch.parts and not answer.again:
            self._ledger.charge(answer.first, answer.nbytes)
            self._collect(answer)
            return
        started = time.perf_counter()
        self._tell_apart(batch, answer)
        self._sizer.handled(answer.count, time.perf_counter() - started)

    def _tell_apart(self, batch: Batch, answer: Answer) -> None:
        if batch.parts:
            nbytes = answer.nbytes // answer.count
            for part, came in zip(batch.parts, answer.record_by_record(), strict=True):
                if part.journey.parts == 1:
                    self._ledger.charge(part.journey.position, nbytes)
                self._journeys.came(part, came, (self._index, 0), (self._index + 1, 0))
            return
        # Some records are worth another attempt: they go on alone, and the others to the consumer.
        self._ledger.charge(answer.first, answer.nbytes)
        pieces = list(answer.without(answer.again))
        counts = {piece.first: piece.count for piece in pieces}
        counts.update({answer.first + index: 1 for index in answer.again})
        self._ledger.split(answer.first, [counts[first] for first in sorted(counts)])
        for piece in pieces:
            self._collect(piece)
        for index, came in enumerate(answer.record_by_record()):
            if index in answer.again:
                self._journeys.adopt(answer.first + index, self._record(batch, index), came)

    def _record(self, batch: Batch, index: int) -> object:
        """One record of a batch, as it was fed."""
        if batch.records is not None:
            return batch.records[index]
        assert isinstance(batch.packed.data, tuple)  # what comes from disk comes in frames
        return batch.place.codec.record(batch.packed.data[index])
