"""A stage of `def` steps: the lines that wait for it, who cuts batches of them, and who has these run.

Made of a segment of the plan and what all stages of the run share; it makes its own places, cutter and carrier.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async._engine.feeding.backlog import Backlog
from pipeframe_async._engine.journeys.journeys import Journeys
from pipeframe_async._engine.lanes.batch import Batch, Line
from pipeframe_async._engine.lanes.carry import Carrier
from pipeframe_async._engine.lanes.cut import Cutter
from pipeframe_async._engine.lanes.lines import FeedLine, PartLine
from pipeframe_async._engine.lanes.places import Places
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._engine.supervise import spawn
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.cutting import portions
from pipeframe_async._rules.journey import Part
from pipeframe_async._rules.retry import Retrying
from pipeframe_async._rules.timing import BatchClock, StepClock
from pipeframe_async.contracts import Executor, Lane
from pipeframe_async.counting import Counts
from pipeframe_async.plan import DefSteps
from pipeframe_async.stats import StageStats
from pipeframe_async.wire import ChainRef, ChainSpec


@dataclass(frozen=True, slots=True)
class Paths:
    """Which way the records of a run may go.

    Attributes:
        tied: parts go to the lane of their journey's key, and no other.
        withdrawn: records may be, also while they are at work: they are called.
        whole: what comes of a record is handed on at once, and never in portions.
    """

    tied: bool = False
    withdrawn: bool = False
    whole: bool = False

    @property
    def by_the_stretch(self) -> bool:
        """Records go to a first stage of `def` steps by the stretch: nobody has to tell them apart there."""
        return not (self.tied or self.withdrawn)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the stages of one run have in common.

    Attributes:
        executor: where batches are run.
        chain, loaded: all `def` steps, as they are shipped, and ready to be run in the lanes.
        books, backlog, journeys: of the run.
        collect: takes answers.
        sizer: makes one for a stage, of the records that a call of its steps has at most.
        retrying: which failures are worth another attempt; None where none is.
        numbers: counts batches.
        keep: results are wanted.
        paths: which way records may go.
        stages: how many there are.
        aside: calls what takes long, in a thread.
        counters, batches: what steps count, and what batches are like.
        within: seconds that the work of a batch may take, as things are now; None where nobody has less time than a
            batch takes anyway.
    """

    executor: Executor
    chain: ChainSpec
    loaded: ChainRef
    books: Books
    backlog: Backlog
    journeys: Journeys
    collect: Callable[[Answer], object]
    sizer: Callable[[int], Sizer]
    retrying: Retrying | None
    numbers: Iterator[int]
    keep: bool
    paths: Paths
    stages: int
    aside: DaemonThread
    counters: Counts
    batches: BatchClock
    within: Callable[[], float] | None = None


class DefStage:
    """One stage of def steps.

    Args:
        index: which stage of the run it is.
        segment: its steps.
        shared: what it shares with the other stages.

    Attributes:
        clocks: one a step.
        places: where its batches are run, and what that costs.
        carrier: has them run.
    """

    on_the_loop = False

    def __init__(self, index: int, segment: DefSteps, shared: Shared) -> None:
        self._index = index
        self._shared = shared
        self.clocks = [StepClock(name, shared.executor.where) for name in segment.names]
        self.places = Places(
            shared.executor,
            shared.chain,
            shared.loaded,
            shared.sizer(segment.at_once),
            segment.number,
            retries=shared.retrying is not None,
        )
        all_on_the_loop = shared.stages <= index + 2  # the stages after this one
        last, ship = index + 1 == shared.stages, shared.keep or index + 1 < shared.stages
        self.carrier = Carrier(
            places=self.places,
            names=segment.names,
            ship=ship,
            ledger=shared.books.ledger,
            clocks=self.clocks,
            counters=shared.counters,
            traces=shared.books.traces,
            batches=shared.batches,
            aside=shared.aside,
            retrying=shared.retrying,
            portions=portions(
                shared.books.ledger.capacity,
                shared.books.ledger.capacity_bytes,
                sum(lane.workers for lane in shared.executor.lanes) or 1,
            ),
            numbers=shared.numbers,
        )
        self._cutter = Cutter(
            places=self.places, step=segment.names[0], books=shared.books, ship=ship, numbers=shared.numbers
        )
        self._feed = (
            FeedLine(
                shared.backlog,
                shared.books.ledger,
                shared.journeys,
                shared.collect,
                last=last,
                # What has left cannot be tried again. And slots wait until portions are taken: all might do so, and
                # none be left for those, where other `def` steps follow.
                in_portions=shared.retrying is None and all_on_the_loop and not shared.paths.whole,
            )
            if shared.paths.by_the_stretch and index == 0
            else None
        )
        self._names = segment.names
        self._at_work = self._at_work_bytes = 0  # records that lanes have, and their bytes
        self._parts: dict[int | None, PartLine] = {}  # by the number of the lane they are tied to; None is every lane's

    def __repr__(self) -> str:
        return f"<{self.line} waiting>"

    @property
    def waits(self) -> bool:
        """Whether there is anything for it: parts, or records that begin here."""
        return (self._index == 0 and self._shared.backlog.takable > 0) or any(map(len, self._parts.values()))

    def stats(self) -> StageStats:
        """What waits for it in lines of its own, and what lanes have. Looks only, so any thread may ask."""
        waiting = sum(map(len, [*self._parts.values()]))
        return StageStats(
            " → ".join(self._names),
            "steps",
            waiting,
            self.sizer.record_bytes(waiting),
            self._at_work,
            self._at_work_bytes,
            self.clocks[0].calls,
        )

    @property
    def sizer(self) -> Sizer:
        """How large its batches are, where they are run now."""
        return self.places.now.sizer

    @property
    def line(self) -> int:
        """Parts that wait for a lane."""
        return sum(map(len, [*self._parts.values()]))

    def put(self, part: Part) -> None:
        """It waits for a lane."""
        self._line(part.journey.lane).append(part)
        self._shared.backlog.bell.ring()

    def clear(self) -> list[Part]:
        """Remove the parts that wait."""
        return [part for line in self._parts.values() for part in line.clear()]

    def _line(self, lane: int | None) -> PartLine:
        if (line := self._parts.get(lane)) is None:
            shared = self._shared
            line = self._parts[lane] = PartLine(
                self._index,
                backlog=shared.backlog,
                ledger=shared.books.ledger,
                journeys=shared.journeys,
                sizer=lambda: self.sizer,
                admits=self._index == 0 and self._feed is None,
                tied=shared.paths.tied,
            )
        return line

    def cut(self, lane: int, *, idle: bool, idle_workers: int, workers: int) -> Batch | None:
        """The next batch for the lane of this number; as `Cutter.cut`. Parts first: they are nearer to their end."""
        tied = self._shared.paths.tied
        if tied:
            idle_workers, workers = int(idle), 1  # no other lane may have these
        if self._shared.within is not None:
            self.sizer.keep_within(self._shared.within())
        lines: list[Line] = [self._line(lane if tied else None)]
        if self._feed is not None:
            lines.append(self._feed)
        for line in lines:
            batch = self._cutter.cut(line, lane, idle=idle, idle_workers=idle_workers, workers=workers)
            if batch is not None:
                return batch
        return None

    async def relieve(self, number: int) -> Batch | None:
        """Some of a batch that is held up, for a lane that has nothing to do; see `Carrier.relieve`."""
        batch = await self.carrier.relieve(number)
        if batch is not None:
            self._at_work -= batch.count
        return batch

    async def carry(self, lane: Lane, batch: Batch) -> Answer | None:
        """Have a batch run; see `Carrier.carry`. None where all its records were withdrawn before it had an answer."""
        nbytes = batch.packed.nbytes
        self._at_work, self._at_work_bytes = self._at_work + batch.count, self._at_work_bytes + nbytes
        try:
            return await self._carried(lane, batch)
        finally:
            self._at_work, self._at_work_bytes = self._at_work - batch.count, self._at_work_bytes - nbytes

    async def _carried(self, lane: Lane, batch: Batch) -> Answer | None:
        if not self._shared.paths.withdrawn:
            return await self.carrier.carry(lane, batch)
        carrying = spawn(self.carrier.carry(lane, batch), f"pipeframe-batch {batch.number}")
        batch.watch(carrying.cancel)
        try:
            return await carrying  # type: ignore[no-any-return]  # a cancel of the slot is passed on to it
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return None  # nobody waits for it; the lane ends a worker that goes on with it

    def hand_on(self, batch: Batch, answer: Answer | None) -> None:
        """What came of a batch goes on from the line it was cut of; without an answer its records are given up."""
        if answer is None:
            for part in batch.parts:
                self._shared.journeys.give_up(part)
            return
        started = time.perf_counter()
        if batch.line.answered(batch, answer):
            self.sizer.handled(answer.count, time.perf_counter() - started)
