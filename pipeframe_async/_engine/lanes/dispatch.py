"""Stages → lanes, and what came of it back. Each lane has as many slots as it takes batches; a slot asks for the next
batch when it has room, so the lanes pull, and nothing queues where it cannot be reached.

Tasks: one per slot. A batch belongs to its slot from the cut until its answer is handed on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import inf

from pipeframe_async._engine.feeding.backlog import Backlog
from pipeframe_async._engine.journeys.journeys import Journeys
from pipeframe_async._engine.lanes.batch import Batch
from pipeframe_async._engine.lanes.stage import DefStage
from pipeframe_async._engine.lanes.workforce import Claim, Given, Workforce
from pipeframe_async._engine.supervise import ended, spawn
from pipeframe_async._rules.relief import LOOK_SECONDS
from pipeframe_async._rules.sharing import Share
from pipeframe_async.contracts import Lane, Opened
from pipeframe_async.errors import WorkerLost

logger = logging.getLogger("pipeframe_async")


class Dispatch:
    """Serves the lanes of one run.

    Args:
        stages: of def steps, in the order records go through them.
        workforce: whose lanes they are, and what other runs have given them.
        backlog: where records wait.
        journeys: of records that come back for more.
        tied: to how many of the first lanes keys are tied; 0 where records may go to any.
        share: its place among those who share the lanes, and what it has had of them.
        within: of calls, seconds that their batches may take, as things are now; None for other runs.
    """

    def __init__(
        self,
        *,
        stages: Sequence[DefStage],
        workforce: Workforce,
        backlog: Backlog,
        journeys: Journeys,
        tied: int,
        share: Share,
        within: Callable[[], float] | None = None,
    ) -> None:
        self._within = within
        self.tied = tied
        self._stages = [*reversed(stages)]
        self._workforce = workforce
        self._numbers = {lane: number for number, lane in enumerate(workforce.executor.lanes)}
        self._backlog = backlog
        self._journeys = journeys
        self.share = share
        self._claim = Claim(share, backlog.bell, self._wants, called=within is not None)
        self._slots: Counter[Lane] = Counter()  # that look for batches, or have one at work
        self._passed: set[Lane] = set()  # where there was nothing to cut although something waits, since the last ring
        self._batches: dict[Lane, int] = {}  # of this run, in each lane that has started
        self._starting = 0
        self._start: asyncio.Task[None] | None = None  # of a lane that has no place yet
        self._waits: set[asyncio.Timeout] = set()  # of slots, for their lanes to start
        self._opened = isinstance(workforce.executor, Opened)
        self._began = time.perf_counter()
        self.starting_seconds = 0.0  # until the first lane had started
        # Of the slots that could have what is held up, the one that looks: all of them would look at all batches.
        self._lookout: object | None = None
        self._set_up: set[Lane] = set()  # that have answered: what is moved there waits for no `setup`
        self._out: set[Lane] = set()  # could not start: the run goes on without

    def __repr__(self) -> str:
        lanes = ", ".join(f"{lane.name}: {batches}" for lane, batches in self._batches.items())
        return f"<{self._starting} starting; batches in {lanes or 'none'}; stages {self._stages}>"

    @property
    def waiting(self) -> bool:
        """Whether a lane has been asked for something, and has not answered; or is kept for others."""
        return self._starting > 0 or self.working or self._workforce.holds(self._claim)

    @property
    def working(self) -> bool:
        """Whether a lane has a batch."""
        return any(self._batches.values())

    async def serve(self, lane: Lane) -> None:
        """One slot's life: take a batch, have it run, hand its answer on, until there is no more.

        Cancellation: the batch it has is given up, and counted so by whoever closes the books.
        """
        self._starting += 1
        try:
            async with asyncio.timeout(None) as wait:  # `_dismiss` ends it
                self._waits.add(wait)
                await lane.start()  # shared by the lane's slots, also those of other runs
        except WorkerLost as error:
            if not self._can_do_without(lane, error):
                raise
            return
        except TimeoutError:
            if not wait.expired():
                raise
            return
        finally:
            self._waits.discard(wait)
            self._starting -= 1
        if not self._batches:
            self.starting_seconds = time.perf_counter() - self._began
        self._batches.setdefault(lane, 0)
        if not self._slots.total():
            self._workforce.join(self._claim)
        self._slots[lane] += 1
        try:
            await self._work(lane)
        finally:
            self._slots[lane] -= 1
            if not self._slots.total():
                self._workforce.leave(self._claim)

    async def recruit(self, lanes: Sequence[Lane]) -> None:
        """Serve lanes that have no place yet: one after the other, as they have one, until nothing is left to do.

        A lane on a cluster may wait for its place for as long as others work. Only the next one is waited for: each
        that waits would cost two tasks, and there may be hundreds. Errors are those of the slots.

        Cancellation: as of a slot, for each of them.
        """
        waiting, at_work = [*lanes], set[asyncio.Task[None]]()
        try:
            while at_work or waiting:
                if self._start is None and waiting:
                    self._start = asyncio.get_running_loop().create_task(waiting[0].start())
                tasks = at_work if self._start is None else at_work | {self._start}
                # `_dismiss` may cancel the start meanwhile; a slot may fail, which ends the run.
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {self._start}:
                    at_work.discard(task)
                    task.result()
                if self._start is not None and self._start in done:
                    start, self._start, lane = self._start, None, waiting.pop(0)
                    if start.cancelled() or start.exception() is not None:  # those who are at work say why, if it ends
                        waiting.clear()
                    else:
                        at_work |= {spawn(self.serve(lane), f"slot-{lane.name}") for _ in range(lane.slots)}
        finally:
            left = [*at_work] if self._start is None else [*at_work, self._start]
            self._start = None
            await ended(left)

    def _dismiss(self) -> None:
        """There is nothing left to do: who is not there need not come."""
        if self._start is not None:
            self._start.cancel()
        if self._opened:  # a place that was asked for may be lost, or be had only when others give it back
            for wait in self._waits:
                wait.reschedule(0.0)

    async def _work(self, lane: Lane) -> None:
        while (found := await self._next(lane)) is not None:
            stage, batch = found
            self._batches[lane] += 1
            given = self._workforce.gave(lane, self._claim)
            batch.rests = partial(self._rests, given)
            try:
                answer = await stage.carry(lane, batch)  # the batch is this slot's alone; all else may change meanwhile
            finally:
                self._batches[lane] -= 1
                self._workforce.got_back(given)
            self._set_up.add(lane)
            self._backlog.bell.ring()  # what was learnt from the batch may let a slot go on that waits
            stage.hand_on(batch, answer)
        self._dismiss()

    def _rests(self, given: Given, resting: bool) -> None:
        """A batch waits in its worker, and its slot with it; or goes on."""
        self._slots[given.lane] -= 1 if resting else -1
        self._workforce.rests(given, resting=resting)

    def _wants(self, lane: Lane) -> bool:
        """Whether a slot of this lane would take something: where it is at work, then when it is back."""
        return self._slots[lane] > 0 and lane not in self._passed and any(stage.waits for stage in self._stages)

    def _can_do_without(self, lane: Lane, error: WorkerLost) -> bool:
        """Whether others may have what is there: not where keys are tied to lanes, and not without the last one."""
        new = lane not in self._out
        self._out.add(lane)
        if self.tied or not any(other.workers for other in self._numbers if other not in self._out):
            return False
        if new:
            logger.warning("%s has no worker, and the run goes on with the other lanes: %s", lane.name, error)
        return True

    async def _next(self, lane: Lane) -> tuple[DefStage, Batch] | None:
        """The next batch for this lane, or None when there will be none."""
        me = object()
        try:
            return await self._found(lane, me)
        finally:
            self._look_no_more(me)

    async def _found(self, lane: Lane, me: object) -> tuple[DefStage, Batch] | None:
        while (found := self._cut(lane)) is None:
            look = None
            if not self._may_relieve(lane):
                self._look_no_more(me)
                if self._backlog.exhausted and not self._journeys.alive:
                    return None
            elif self._lookout is None or self._lookout is me:
                self._lookout, look = me, LOOK_SECONDS
                if (held := self._held_up()) is not None:
                    stage, number = held
                    if (batch := await stage.relieve(number)) is not None:
                        return stage, batch
                    continue  # all may have changed
            # From the look to the wait nothing else runs: no ring is missed, and each wakes all slots to look again.
            await self._backlog.bell.wait(look)
            if not self._claim.nudged:
                self._passed.discard(lane)
        if self._backlog.exhausted:
            self._backlog.bell.ring()  # this was the last one: slots that wait can go home
        return found

    def _look_no_more(self, me: object) -> None:
        """Another slot may look what is held up, if this one did."""
        if self._lookout is me:
            self._lookout = None
            self._backlog.bell.ring()

    def _cut(self, lane: Lane) -> tuple[DefStage, Batch] | None:
        """Of the last stage that has something: what is nearest to its end goes first."""
        stages = [stage for stage in self._stages if stage.waits]
        if not stages:
            if not self._claim.content and self._workforce.shared:
                self._claim.content = True
                self._workforce.passed(self._claim)
            return None  # the usual answer: each ring wakes all slots, and there was one batch
        if not (lane.workers or self.tied):
            return None  # of an executor that has become smaller
        if self._within is not None:
            # What has a deadline is not queued behind others: nobody could say whether it begins in time.
            self.share.patient = self._within() < inf
        if self._workforce.shared and not self._workforce.may_have(self._claim, lane):
            return None
        idle = self._batches[lane] < lane.workers
        if idle and self._left_to_others(lane):
            return None
        idle_workers = sum(max(0, lane.workers - batches) for lane, batches in self._batches.items())
        if self.share.patient:
            idle, idle_workers = True, self._workforce.idle_workers
        workers = sum(lane.workers for lane in self._batches)
        for stage in stages:
            batch = stage.cut(self._numbers[lane], idle=idle, idle_workers=idle_workers, workers=workers)
            if batch is not None:
                return stage, batch
        if self._workforce.shared:
            self._passed.add(lane)
            self._workforce.passed(self._claim, lane)
        return None

    def _may_relieve(self, lane: Lane) -> bool:
        """Whether it has nothing to do, and may be given some of what others have."""
        if self.tied or lane not in self._set_up or not lane.workers or self._workforce.busy(lane):
            return False
        if self._workforce.shared and not self._workforce.may_have(self._claim, lane):
            return False
        return any(stage.carrier.may_cede for stage in self._stages)

    def _held_up(self) -> tuple[DefStage, int] | None:
        """A batch in another lane that is held up, by its number."""
        now = asyncio.get_running_loop().time()
        for stage in self._stages:
            if (number := stage.carrier.held_up(now)) is not None:
                return stage, number
        return None

    def _left_to_others(self, lane: Lane) -> bool:
        """Whether other runs keep it busy, and not all others: then one of those takes what there is."""
        if self.tied or not self._workforce.busy(lane):
            return False
        return any(not self._workforce.busy(other) for other in self._batches)
