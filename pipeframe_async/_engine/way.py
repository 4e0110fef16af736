"""The way records take in one run: a stage for each run of steps, what serves them, and what they cost.

Records go by the batch where a pipeline is one run of `def` steps and nobody has to tell them apart on their way;
else each is on a journey of its own (`journeys.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from pipeframe_async._engine.async_steps import AsyncStage
from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Answer
from pipeframe_async._engine.books import Books
from pipeframe_async._engine.carry import Carrier
from pipeframe_async._engine.cut import Cutter
from pipeframe_async._engine.dispatch import Dispatch
from pipeframe_async._engine.journeys import Journeys, Tie
from pipeframe_async._engine.places import Places
from pipeframe_async._engine.stages import DefStage
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.bottleneck import Usage
from pipeframe_async._rules.retry import Retrying
from pipeframe_async._rules.timing import StepClock
from pipeframe_async.contracts import Executor
from pipeframe_async.plan import AsyncSteps, DefSteps, Plan, Segment
from pipeframe_async.report import StepReport
from pipeframe_async.wire import ChainRef


@dataclass(frozen=True, slots=True)
class Limits:
    """The frame's knobs that a run needs. Records, bytes, seconds."""

    buffer_size: int
    buffer_bytes: int
    drain_timeout: float


class Way:
    """The stages of one run.

    Args:
        plan: the pipeline.
        executor: where its `def` steps run.
        limits: the frame's.
        books: permits.
        backlog: where records wait.
        collect: takes answers.
        keep: results are wanted.
        tie: where order is kept by key.
        apart: each record is on its own, whatever the pipeline: it may be withdrawn.

    Attributes:
        sizer: how many records the first stage waits for.
        journeys: of the records that are told apart.
        dispatch: serves the lanes.
    """

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        limits: Limits,
        *,
        books: Books,
        backlog: Backlog,
        collect: Callable[[Answer], None],
        keep: bool,
        tie: Tie | None,
        apart: bool,
    ) -> None:
        self._plan = plan
        self._executor = executor
        self._limits = limits
        self._books = books
        self._backlog = backlog
        self._collect = collect
        self._keep = keep
        self._retrying = None if plan.retry is None else Retrying(plan.retry, random.random)
        self._tied = tie is not None
        self._by_the_batch = len(plan.segments) == 1 and not (apart or self._tied or plan.chain is None)
        self.journeys = Journeys(
            backlog=backlog,
            books=books,
            collect=collect,
            retrying=self._retrying,
            tie=tie,
            keep=keep,
            codec=executor.codec,
            step=plan.names[0],
        )
        self._clocks: list[list[StepClock]] = []
        self._sizers: list[Sizer] = []
        self._def_stages: list[DefStage] = []
        self._async_stages: list[AsyncStage] = []
        self._numbers = count()
        loaded = None if plan.chain is None else executor.load(plan.chain)
        self.journeys.stages = [self._stage(index, segment, loaded) for index, segment in enumerate(plan.segments)]
        self.sizer = self._sizers[0]
        self.dispatch = Dispatch(
            stages=self._def_stages,
            lanes=executor.lanes,
            backlog=backlog,
            journeys=self.journeys,
            comes_back=self._retrying is not None,
            tied=self._tied,
        )

    def _stage(self, index: int, segment: Segment, loaded: ChainRef | None) -> DefStage | AsyncStage:
        where = "loop" if isinstance(segment, AsyncSteps) else self._executor.where
        clocks = [StepClock(name, where) for name in segment.names]
        sizer = Sizer(
            fixed=1 if isinstance(segment, AsyncSteps) else self._plan.batch_size,
            capacity=self._limits.buffer_size,
            capacity_bytes=self._limits.buffer_bytes,
            slots=sum(lane.slots for lane in self._executor.lanes),
        )
        self._clocks.append(clocks)
        self._sizers.append(sizer)
        if isinstance(segment, AsyncSteps):
            stage = AsyncStage(
                index,
                segment,
                self._plan.async_concurrency,
                backlog=self._backlog,
                journeys=self.journeys,
                clocks=clocks,
                retrying=self._retrying,
            )
            self._async_stages.append(stage)
            return stage
        assert loaded is not None
        return self._def_stage(index, segment, loaded, sizer, clocks)

    def _def_stage(
        self, index: int, segment: DefSteps, loaded: ChainRef, sizer: Sizer, clocks: list[StepClock]
    ) -> DefStage:
        plan, ledger, backlog = self._plan, self._books.ledger, self._backlog
        assert plan.chain is not None
        places = Places(self._executor, plan.chain, loaded, segment.run)
        ship = self._keep or index + 1 < len(plan.segments)
        carrier = Carrier(
            places=places,
            names=segment.names,
            ship=ship,
            ledger=ledger,
            sizer=sizer,
            clocks=clocks,
            retrying=self._retrying,
        )
        cutter = None
        if self._by_the_batch:
            cutter = Cutter(
                backlog=backlog,
                places=places,
                step=segment.names[0],
                ledger=ledger,
                sizer=sizer,
                ship=ship,
                numbers=self._numbers,
            )
        stage = DefStage(
            index,
            segment.names[0],
            cutter=cutter,
            places=places,
            sizer=sizer,
            carrier=carrier,
            ledger=ledger,
            backlog=backlog,
            journeys=self.journeys,
            collect=self._collect,
            numbers=self._numbers,
            tied=self._tied,
            ship=ship,
        )
        self._def_stages.append(stage)
        return stage

    def serving(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """What must run for the stages to work, by name; each ends when nothing more comes."""
        for stage in self._async_stages:
            yield f"steps-{stage.names[0]}", stage.serve()
        for lane in self._executor.lanes if self._def_stages else ():
            for _ in range(lane.slots):
                yield "slot", self.dispatch.serve(lane)

    @property
    def waits_for(self) -> str:
        """Who has something and has not answered; empty where nobody has."""
        if self.dispatch.waiting:
            return "a lane"
        if any(stage.working for stage in self._async_stages):
            return "an async step"
        return "the next attempt" if self.journeys.asleep else ""

    def reports(self) -> list[StepReport]:
        """What each step has done."""
        both = any(stage.places.beside_records for stage in self._def_stages)
        steps = [clock.report() for clocks in self._clocks for clock in clocks]
        return [replace(step, where="both") if both and step.where != "loop" else step for step in steps]

    def usage(self, usage: Usage) -> Usage:
        """What was used, with what the stages know of it."""
        places = [stage.places for stage in self._def_stages]
        records = sum(place.records for place in places)
        slowest = max(self._async_stages, key=lambda stage: stage.seconds, default=None)
        return replace(
            usage,
            workers=sum(lane.workers for lane in self._executor.lanes) if places else 0,
            work=sum(stage.carrier.work_seconds for stage in self._def_stages),
            moving=sum(place.moving for place in places),
            worked=sum(place.worked for place in places),
            beside=sum(place.beside_records for place in places) / max(1, records),
            beside_work=sum(place.beside_seconds for place in places),
            may_move=any(place.can_move for place in places),
            awaiting=slowest.seconds / slowest.concurrency if slowest is not None else 0.0,
            concurrency=self._plan.async_concurrency,
        )
