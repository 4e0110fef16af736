"""The parts of one run, made and joined: the only place where that is done.

    intake ─► backlog ─► dispatch (a task per lane slot) ─► collect ─► deliver ─► consumer
       ▲         ▲          │   ▲                              ▲                     │
       │         │          ▼   │                              │                     ▼
       │         └────── journeys ◄─► async stages ────────────┘                   books
       └──────────────────────────── permits (ledger, freed bell) ───────────────────┘

Comes in: a plan and what the frame has for it. Goes out: the parts, which know each other and not the run they are of.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, takewhile
from typing import Any, NamedTuple

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.delivering.collect import KEPT_FAILURES, Collect
from pipeframe_async._engine.delivering.deliver import Consumer, Counting, Deliver, Sink
from pipeframe_async._engine.delivering.hooks import Hook
from pipeframe_async._engine.delivering.results import Results
from pipeframe_async._engine.feeding.backlog import Backlog
from pipeframe_async._engine.feeding.intake import Intake
from pipeframe_async._engine.feeding.spill import Spill
from pipeframe_async._engine.feeding.trail import Trail
from pipeframe_async._engine.going_on import budget_of, checkpointer_of, hands_on_whole
from pipeframe_async._engine.journeys.async_stage import AsyncStage
from pipeframe_async._engine.journeys.journeys import Journeys
from pipeframe_async._engine.journeys.tie import Tie
from pipeframe_async._engine.lanes.dispatch import Dispatch
from pipeframe_async._engine.lanes.stage import DefStage, Paths, Shared
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.living import Conclude, Lives, Living
from pipeframe_async._engine.load import Load
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._engine.settling.checkpoint import Checkpointer, Job
from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async._engine.settling.traces import Traces
from pipeframe_async._engine.settling.watermark import WatermarkReporter
from pipeframe_async._engine.stall import StallDetector
from pipeframe_async._rules.batching import AWAY, BESIDE, Sizer
from pipeframe_async._rules.feed_forms import Feed
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async._rules.ordering import AsFed, AsFinished, Sequencer
from pipeframe_async._rules.retry import Retrying
from pipeframe_async._rules.sharing import Share
from pipeframe_async._rules.timing import BatchClock
from pipeframe_async.contracts import Lane, RunTrace
from pipeframe_async.counting import Counts
from pipeframe_async.plan import AsyncSteps, Plan, Segment
from pipeframe_async.wire import ChainSpec


@dataclass(frozen=True, slots=True)
class Limits:
    """The frame's knobs that a run needs. Records, bytes, seconds."""

    buffer_size: int
    buffer_bytes: int
    drain_timeout: float


@dataclass(frozen=True, slots=True)
class Ways:
    """What the parts ask of the run they are of.

    Attributes:
        dried: the feed has been idle for too long.
        tripped: too many records have failed.
    """

    dried: Callable[[], None]
    tripped: Callable[[], None]


class Hooks(NamedTuple):
    """The hooks of a pipeline that are called by a run."""

    sink: Hook | None
    dead_letter: Hook | None
    on_progress: Hook | None

    @property
    def there(self) -> list[Hook]:
        """Those it has."""
        return [hook for hook in self if hook is not None]


@dataclass(frozen=True, slots=True)
class Organs:
    """The organs of one run, from the feed to the consumer.

    Attributes:
        hooks: of the user's.
        aside: what is large is packed and read there.
        watermark: where somebody is told.
        checkpoint: of a job that has one.
        lives: of the user's objects at both ends.
        stages: the stages, in order.
        counters, batches: what steps count, and what batches are like.
        finals: what is final, where somebody follows that.
        calls: whose records they are, where they are called.
    """

    books: Books
    backlog: Backlog
    intake: Intake
    journeys: Journeys
    stages: tuple[DefStage | AsyncStage, ...]
    dispatch: Dispatch
    workforce: Workforce
    collect: Collect
    deliver: Deliver
    results: Results[Any]
    hooks: Hooks
    aside: DaemonThread
    watermark: WatermarkReporter | None
    checkpoint: Checkpointer | None
    stall: StallDetector
    lives: Lives
    counters: Counts
    batches: BatchClock
    finals: Finals | None
    calls: Calls | None

    @property
    def def_stages(self) -> list[DefStage]:
        """Those for the lanes."""
        return [stage for stage in self.stages if isinstance(stage, DefStage)]

    @property
    def async_stages(self) -> list[AsyncStage]:
        """Those on the loop."""
        return [stage for stage in self.stages if isinstance(stage, AsyncStage)]

    def serving(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """What must run for the stages to work, by name; each ends when nothing more comes."""
        for stage in self.async_stages:
            yield f"steps-{stage.names[0]}", stage.serve()
        lanes = self.workforce.executor.lanes if self.def_stages else ()
        if self.dispatch.tied:
            # One batch a lane: a second one could pass the first where its worker is lost, or at another's place.
            for lane in lanes[: self.dispatch.tied]:
                yield "slot", self.dispatch.serve(lane)
            return
        there = [lane for lane in lanes if lane.workers] or lanes[:1]  # one is waited for in any case
        for lane in there:
            for _ in range(lane.slots):
                yield "slot", self.dispatch.serve(lane)
        if later := [lane for lane in lanes if lane not in there]:
            yield "recruit", self.dispatch.recruit(later)

    def waits_for(self) -> str:
        """Whom the run waits for outside of itself; empty where nobody else could move it."""
        if self.dispatch.waiting:
            return "a lane"
        if any(stage.working for stage in self.async_stages):
            return "an async step"
        if self.journeys.asleep:
            return "the next attempt"
        if any(hook.busy for hook in self.hooks.there):
            return "a hook"
        if self.results.waiting:
            return "the consumer"
        if self.books.handles.waiting:
            return "an ack or nack"
        if self.backlog.spill.moving:
            return "the disk"
        if self.intake.closing:
            return "the feed, to close"
        feeding = not self.backlog.ended and not self.intake.waits_for_room
        nothing_to_do = self.backlog.held or not self.books.ledger.in_flight
        return "the feed" if feeding and nothing_to_do else ""


def wired(
    plan: Plan,
    feed: Feed,
    workforce: Workforce,
    limits: Limits,
    ways: Ways,
    *,
    streaming: bool,
    calls: Calls | None,
    job: Job | None,
    trace: RunTrace | None = None,
) -> Organs:
    """Make the parts of a run and join them.

    Args:
        plan: the checked pipeline.
        feed: its feed.
        workforce: whose lanes its `def` steps are run in.
        limits: the frame's.
        ways: what the parts ask of the run.
        streaming: somebody will iterate its results.
        calls: who else takes them, each by itself; None where nobody does.
        job: the state of a job with a checkpoint.
        trace: makes its spans, where anybody traces.
    """
    bell, stall = Bell(), StallDetector()
    hooks = _hooks(plan, streaming=streaming)
    forgiving = hooks.dead_letter is not None
    finals = (
        None
        if hooks.on_progress is None and job is None
        else Finals(None if job is None else job.state.done, borne=lambda: forgiving or not collect.failed)
    )
    trail = None if job is None else Trail(job.state.feed if feed.seeks else None)
    threads = {role: hook.thread for role, hook in hooks._asdict().items() if hook is not None}
    living = [Living(edge, threads.get(edge.role)) for edge in plan.edges]
    ledger = Ledger(limits.buffer_size, limits.buffer_bytes)
    books = Books(
        ledger,
        work=bell,
        settled=stall.touch,
        finals=finals,
        forgiving=forgiving,
        puts_off=plan.puts_off,
        traces=Traces(trace),
    )
    spill = Spill(workforce.executor.codec, plan.names[0], bell.ring)
    backlog = Backlog(books, spill, bell, whole=plan.source == "batch")
    tie = Tie(plan.order, _lanes_begun(workforce.executor.lanes)) if callable(plan.order) else None
    keep = streaming or hooks.sink is not None or calls is not None or feed.results
    collect = Collect(
        sequencer=_sequencer(plan.order, tie, looked_at=keep or hooks.dead_letter is not None),
        budget=budget_of(plan, job),
        tripped=ways.tripped,
        kept=0 if plan.max_failures is None else KEPT_FAILURES,
        most=limits.buffer_size,
    )
    staging = _Staging(
        plan, workforce, limits, books, backlog, collect, tie, keep=keep, calls=calls, whole=hands_on_whole(plan, job)
    )
    results: Results[Any] = Results(books.settle)
    checkpoint = (
        None
        if job is None or finals is None or trail is None
        else checkpointer_of(plan, job, finals, ledger, trail, sink=hooks.sink, dead_letter=hooks.dead_letter)
    )
    watermark = None if hooks.on_progress is None or finals is None else WatermarkReporter(hooks.on_progress, finals)
    return Organs(
        books=books,
        backlog=backlog,
        intake=_intake(
            plan, feed, staging.stages[0], books, backlog, stall, ways, control=calls is None, job=job, trail=trail
        ),
        journeys=staging.journeys,
        stages=staging.stages,
        dispatch=staging.dispatch(),
        workforce=workforce,
        collect=collect,
        deliver=Deliver(
            collect,
            _consumer(plan, books, staging, backlog, hooks.sink, results if streaming else None, calls),
            hooks.dead_letter,
            turn=None if checkpoint is None else checkpoint.turn,
            taken=results.drained if streaming and checkpoint is not None else None,
        ),
        results=results,
        hooks=hooks,
        aside=staging.aside,
        watermark=watermark,
        checkpoint=checkpoint,
        stall=stall,
        lives=Lives(living, limits.drain_timeout, _conclude(books, watermark if plan.puts_off else None)),
        counters=staging.counters,
        batches=staging.batches,
        finals=finals,
        calls=calls,
    )


def _hooks(plan: Plan, *, streaming: bool) -> Hooks:
    return Hooks(
        Hook(plan.sink, "sink") if plan.sink and not streaming else None,
        Hook(plan.dead_letter, "dead_letter") if plan.dead_letter else None,
        Hook(plan.on_progress, "on_progress") if plan.on_progress else None,
    )


def _intake(
    plan: Plan,
    feed: Feed,
    first: DefStage | AsyncStage,
    books: Books,
    backlog: Backlog,
    stall: StallDetector,
    ways: Ways,
    *,
    control: bool,
    job: Job | None,
    trail: Trail | None,
) -> Intake:
    return Intake(
        feed=feed,
        name=plan.name,
        books=books,
        backlog=backlog,
        sizer=lambda: first.sizer,
        timeout=plan.timeout,
        dried=ways.dried,
        moved=stall.touch,
        control=control,
        trail=trail,
        done=None if job is None else job.state.done,
    )


def _conclude(books: Books, watermark: WatermarkReporter | None) -> Conclude:
    """The sink has been closed: what was put off until then is answered, and the watermark told, where that was too."""

    async def conclude(timeout: float, *, kept: bool) -> None:
        await books.handles.conclude(timeout, kept=kept)
        if kept and watermark is not None:
            await watermark.conclude(timeout)

    return conclude


def _consumer(
    plan: Plan,
    books: Books,
    staging: _Staging,
    backlog: Backlog,
    sink: Hook | None,
    results: Results[Any] | None,
    calls: Calls | None,
) -> Consumer:
    """Who takes results: callers, one who iterates, the sink, or nobody."""
    if calls is not None:
        calls.join(
            settle=books.settle,
            withdraw=staging.journeys.withdraw,
            position=lambda: backlog.entered,
            load=staging.load,
            traced=books.traces.called,
        )
        return calls
    if results is not None:
        return results
    return Counting(books) if sink is None else Sink(sink, books, keys=plan.sink_keys)


def _lanes_begun(lanes: Sequence[Lane]) -> int:
    """How many of the first keys may be tied to: not those that are promised a place, which may never come."""
    begun = takewhile(lambda lane: lane.workers and getattr(lane, "began", True), lanes)
    return len([*begun]) or 1


def _slots_there(lanes: Sequence[Lane]) -> int:
    """Of lanes that have a worker, or will have."""
    return sum(lane.slots for lane in lanes if lane.workers) or 1


def _sequencer(order: object, tie: Tie | None, *, looked_at: bool) -> Sequencer[Answer]:
    """What puts answers in order, where anybody could tell."""
    if tie is not None:
        return tie.sequencer
    return AsFinished() if not looked_at or order == "completion" else AsFed()


class _Staging:
    """Journeys, and the stages they go through."""

    def __init__(
        self,
        plan: Plan,
        workforce: Workforce,
        limits: Limits,
        books: Books,
        backlog: Backlog,
        collect: Collect,
        tie: Tie | None,
        *,
        keep: bool,
        calls: Calls | None,
        whole: bool,
    ) -> None:
        self._plan = plan
        self._workforce = workforce
        self._backlog = backlog
        self._books = books
        self.counters: Counts = {}
        self.batches = BatchClock()
        self._tied_lanes = 0 if tie is None else tie.lanes
        self._paths = Paths(tied=tie is not None, withdrawn=calls is not None, whole=whole)
        self._retrying = None if plan.retry is None else Retrying(plan.retry, random.random)
        self.journeys = Journeys(
            backlog=backlog,
            books=books,
            collect=collect.add,
            retrying=self._retrying,
            tie=tie,
            keep=keep,
            codec=workforce.executor.codec,
            step=plan.names[0],
            callers=calls,
            encode=plan.encode,
        )
        self._lanes_share = Share(first=calls is not None and not calls.bulk)
        self._within = None if calls is None else calls.within
        self.aside = DaemonThread(f"pipeframe-large-{plan.name}")  # begins with the first large record
        self._shared = None if plan.chain is None else self._share(plan.chain, limits, books, collect, keep=keep)
        self.stages = tuple(self._stage(index, segment) for index, segment in enumerate(plan.segments))
        self.journeys.join(self.stages)
        self.load = Load(self.stages, self._lanes_share, workforce)

    def _share(self, chain: ChainSpec, limits: Limits, books: Books, collect: Collect, *, keep: bool) -> Shared:
        executor = self._workforce.executor

        def sizer(at_once: int) -> Sizer:
            return Sizer(
                fixed=self._plan.batch_size,
                capacity=limits.buffer_size,
                capacity_bytes=limits.buffer_bytes,
                slots=partial(_slots_there, executor.lanes),
                at_once=at_once,
                bounds=BESIDE if executor.codec.live else AWAY,
            )

        return Shared(
            executor=executor,
            chain=chain,
            loaded=executor.load(chain),
            books=books,
            backlog=self._backlog,
            journeys=self.journeys,
            collect=collect.add,
            sizer=sizer,
            retrying=self._retrying,
            numbers=count(),
            keep=keep,
            paths=self._paths,
            aside=self.aside,
            stages=len(self._plan.segments),
            counters=self.counters,
            batches=self.batches,
            within=self._within,
        )

    def _stage(self, index: int, segment: Segment) -> DefStage | AsyncStage:
        if isinstance(segment, AsyncSteps):
            return AsyncStage(
                index,
                segment,
                self._plan.async_concurrency,
                backlog=self._backlog,
                journeys=self.journeys,
                retrying=self._retrying,
                counters=self.counters,
                traces=self._books.traces,
            )
        assert self._shared is not None  # the plan has a chain where it has a run of def steps
        return DefStage(index, segment, self._shared)

    def dispatch(self) -> Dispatch:
        """What serves the lanes."""
        return Dispatch(
            stages=[stage for stage in self.stages if isinstance(stage, DefStage)],
            workforce=self._workforce,
            backlog=self._backlog,
            journeys=self.journeys,
            tied=self._tied_lanes,
            share=self._lanes_share,
            within=self._within,
        )
