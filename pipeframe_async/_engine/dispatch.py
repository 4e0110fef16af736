"""Backlog → lanes → collect. Each lane has as many slots as it takes batches; a slot asks for the next
batch when it has room, so the lanes pull, and nothing queues where it cannot be reached.

Tasks: one per slot. A batch belongs to its slot from the cut until its answer is handed on.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Answer, Batch
from pipeframe_async._engine.carry import Carrier
from pipeframe_async._engine.cut import Cutter
from pipeframe_async.contracts import Lane


class Dispatch:
    """Serves the lanes of one run.

    Args:
        carrier: has batches run.
        cutter: makes batches of the backlog.
        backlog: where records wait.
        collect: takes each answer.
    """

    def __init__(
        self, *, carrier: Carrier, cutter: Cutter, backlog: Backlog, collect: Callable[[Answer], None]
    ) -> None:
        self._carrier = carrier
        self._cutter = cutter
        self._backlog = backlog
        self._collect = collect
        self._busy: dict[Lane, int] = {}  # batches in each lane that has started
        self._starting = 0

    def __repr__(self) -> str:
        lanes = ", ".join(f"{lane.name}: {busy}" for lane, busy in self._busy.items())
        return f"<{self._starting} starting; batches in {lanes or 'none'}>"

    def settled(self) -> None:
        """Bytes or permits came free."""
        if self._cutter.starved:
            self._backlog.bell.ring()

    @property
    def waiting(self) -> bool:
        """Whether a lane has been asked for something, and has not answered."""
        return self._starting > 0 or self.working

    @property
    def working(self) -> bool:
        """Whether a lane has a batch."""
        return any(self._busy.values())

    async def serve(self, lane: Lane) -> None:
        """One slot's life: take a batch, have it run, hand its answer on, until there is no more."""
        self._starting += 1
        try:
            await lane.start()
        finally:
            self._starting -= 1
        self._busy.setdefault(lane, 0)
        while (batch := await self._next(lane)) is not None:
            self._busy[lane] += 1
            try:
                answer = await self._carrier.carry(lane, batch)
            finally:
                self._busy[lane] -= 1
            self._backlog.bell.ring()  # what was learnt from the batch may let a slot go on that waits
            self._collect(answer)

    async def _next(self, lane: Lane) -> Batch | None:
        """The next batch for this lane, or None when there will be none."""
        while (batch := self._cut(lane)) is None:
            if self._backlog.exhausted:
                return None
            await self._backlog.bell.wait()
        if self._backlog.exhausted:
            self._backlog.bell.ring()  # this was the last one: slots that wait can go home
        return batch

    def _cut(self, lane: Lane) -> Batch | None:
        return self._cutter.cut(
            idle=self._busy[lane] < lane.workers,
            idle_workers=sum(max(0, lane.workers - busy) for lane, busy in self._busy.items()),
            workers=sum(lane.workers for lane in self._busy),
        )
