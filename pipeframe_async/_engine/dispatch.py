"""Stages → lanes, and what came of it back. Each lane has as many slots as it takes batches; a slot asks for the next
batch when it has room, so the lanes pull, and nothing queues where it cannot be reached.

Tasks: one per slot. A batch belongs to its slot from the cut until its answer is handed on.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Batch
from pipeframe_async._engine.journeys import Journeys
from pipeframe_async._engine.stages import DefStage
from pipeframe_async.contracts import Lane


class Dispatch:
    """Serves the lanes of one run.

    Args:
        stages: of def steps, in the order records go through them.
        lanes: whose numbers the stages know.
        backlog: where records wait.
        journeys: of records that come back for more.
        comes_back: whether a batch that is away may bring more to do.
        tied: records go to one lane and no other.
    """

    def __init__(
        self,
        *,
        stages: Sequence[DefStage],
        lanes: Sequence[Lane],
        backlog: Backlog,
        journeys: Journeys,
        comes_back: bool,
        tied: bool,
    ) -> None:
        self._tied = tied
        self._stages = [*reversed(stages)]
        self._numbers = {lane: number for number, lane in enumerate(lanes)}
        self._backlog = backlog
        self._journeys = journeys
        self._comes_back = comes_back
        self._busy: dict[Lane, int] = {}  # batches in each lane that has started
        self._starting = 0

    def __repr__(self) -> str:
        lanes = ", ".join(f"{lane.name}: {busy}" for lane, busy in self._busy.items())
        return f"<{self._starting} starting; batches in {lanes or 'none'}; stages {self._stages}>"

    def settled(self) -> None:
        """Bytes or permits came free."""
        if any(stage.starved for stage in self._stages) or len(self._backlog.spill):
            self._backlog.bell.ring()

    @property
    def waiting(self) -> bool:
        """Whether a lane has been asked for something, and has not answered."""
        return self._starting > 0 or self.working

    @property
    def working(self) -> bool:
        """Whether a lane has a batch."""
        return any(self._busy.values())

    @property
    def _over(self) -> bool:
        """Whether there will be nothing more to do."""
        if not self._backlog.exhausted or self._journeys.alive:
            return False
        return not (self._comes_back and self.working)

    async def serve(self, lane: Lane) -> None:
        """One slot's life: take a batch, have it run, hand its answer on, until there is no more."""
        self._starting += 1
        try:
            await lane.start()
        finally:
            self._starting -= 1
        self._busy.setdefault(lane, 0)
        while (found := await self._next(lane)) is not None:
            stage, batch = found
            self._busy[lane] += 1
            lane.busy += 1
            try:
                hand_on = await stage.carry(lane, batch)
            finally:
                self._busy[lane] -= 1
                lane.busy -= 1
            self._backlog.bell.ring()  # what was learnt from the batch may let a slot go on that waits
            hand_on()

    async def _next(self, lane: Lane) -> tuple[DefStage, Batch] | None:
        """The next batch for this lane, or None when there will be none."""
        while (found := self._cut(lane)) is None:
            if self._over:
                return None
            await self._backlog.bell.wait()
        if self._backlog.exhausted:
            self._backlog.bell.ring()  # this was the last one: slots that wait can go home
        return found

    def _cut(self, lane: Lane) -> tuple[DefStage, Batch] | None:
        idle = self._busy[lane] < lane.workers
        if idle and self._taken(lane):
            return None
        idle_workers = sum(max(0, lane.workers - busy) for lane, busy in self._busy.items())
        workers = sum(lane.workers for lane in self._busy)
        for stage in self._stages:
            batch = stage.cut(self._numbers[lane], idle=idle, idle_workers=idle_workers, workers=workers)
            if batch is not None:
                return stage, batch
        return None

    def _taken(self, lane: Lane) -> bool:
        """Whether other runs keep it busy, and not all others: then one of those takes what there is."""
        if lane.busy < lane.workers or self._tied:
            return False
        return any(other.busy < other.workers for other in self._busy)
