"""What waits, cut into batches: when a lane has room and not before, and pickled here on the loop.

Comes in: a line, and which workers have nothing to do. Goes out: a batch, or nothing. Whether one may go and how large
is decided by `_rules/cutting.py`; here it is taken, packed, measured and booked, for lines of either kind.

Pickling on the loop costs half of what it costs in a pool's thread, and a record that cannot be pickled is known at
once. Never more payload than the line has room for: what does not fit goes back and waits.

Runs in the task of the slot that asks, within one turn of the loop: nothing changes between a look and a cut.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from pipeframe_async._engine.lanes.batch import Batch, Line
from pipeframe_async._engine.lanes.places import Place, Places
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._rules.cutting import how_many, may_go
from pipeframe_async.weight import LARGE_BYTES, MOST_LOOKS, weight
from pipeframe_async.wire import Live, Packed


class Cutter:
    """Makes batches for one stage of `def` steps.

    Args:
        places: say where a batch goes, and how.
        step: the first step's name, for the failures of records that have no bytes.
        books: permits and bytes.
        ship: whether results come back, and need room for bytes too.
        numbers: counts batches.
    """

    def __init__(self, *, places: Places, step: str, books: Books, ship: bool, numbers: Iterator[int]) -> None:
        self._places = places
        self._step = step
        self._books = books
        self._ledger = books.ledger
        self._ship = ship
        self._numbers = numbers

    def cut(self, line: Line, lane: int, *, idle: bool, idle_workers: int, workers: int) -> Batch | None:
        """The next batch of a line, or None where none should go now.

        Args:
            line: what waits.
            lane: number of the one that asks.
            idle: whether the lane that asks has a worker with nothing to do.
            idle_workers: how many there are in all lanes that may have it.
            workers: all workers of those.
        """
        line.fill()
        if not (waiting := line.waiting):
            return None
        place, ended = self._places.of(lane), line.ended
        if not may_go(
            place.sizer,
            waiting,
            ended=ended,
            paused=line.paused,
            idle=idle,
            idle_workers=idle_workers,
            workers=workers,
        ):
            return None
        size = how_many(
            place.sizer,
            waiting,
            ended=ended,
            idle_workers=idle_workers,
            workers=workers,
            room_bytes=line.room_bytes,
            alone=self._ledger.alone,
        )
        if (batch := self._made(line, place, size)) is None:
            self._books.want_room()
        return batch

    def _made(self, line: Line, place: Place, size: int) -> Batch | None:
        if not size or (taken := line.take(size)) is None:
            return None
        seconds, packed = 0.0, taken.packed
        if packed is None:
            values = taken.values or ()
            packed = None if taken.rejected else self._packed_later(place, values)
            if packed is None:
                started = time.perf_counter()
                # In frames, where some have failed already: the others are run in stretches between those.
                pack = place.codec.pack_frames if taken.rejected and not place.codec.live else place.codec.pack
                packed, without = pack(values, self._step)
                taken.rejected = without | taken.rejected
                seconds = time.perf_counter() - started
                place.sizer.packed(packed.records, packed.nbytes, None if place.codec.live else seconds)
            alone = self._ledger.alone
            if packed.nbytes > line.room_bytes and (packed.records > 1 or not alone):
                line.give_back(taken)
                return self._made(line, place, packed.records // 2) if alone else None
            taken.packed = packed
        likely = place.sizer.expected_bytes(packed.records) if self._ship else 0
        line.open(taken, max(packed.nbytes, min(likely, line.room_bytes)))
        return Batch(
            next(self._numbers),
            line,
            taken.first,
            packed,
            taken.values,
            taken.rejected,
            place,
            seconds,
            taken.parts,
            taken.portion,
        )

    @staticmethod
    def _packed_later(place: Place, values: Sequence[Any]) -> Packed | None:
        """Records as they are, with a guess of their bytes, where packing them here would hold up the loop."""
        if place.codec.live:
            return None
        nbytes = sum(map(weight, values)) if len(values) <= MOST_LOOKS else weight(values)
        return Packed(len(values), Live([*values], nbytes)) if nbytes >= LARGE_BYTES else None
