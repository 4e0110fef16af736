"""One run: the parts made, joined by bounded queues, started, watched and ended. The only wiring there is.

    intake ─► backlog ─► dispatch (a task per lane slot) ─► collect ─► deliver ─► consumer
       ▲                                                                             │
       └──────────────────────────── permits (ledger, freed bell) ───────────────────┘

An error in any part ends them all; whatever way it ends, every record has an outcome and no task is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Answer
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.collect import Collect
from pipeframe_async._engine.deliver import Consumer, Counting, Deliver, HookCaller, Sink
from pipeframe_async._engine.dispatch import Dispatch
from pipeframe_async._engine.handles import Handles
from pipeframe_async._engine.intake import Intake
from pipeframe_async._engine.results import Results
from pipeframe_async._engine.spill import Spill
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.bottleneck import Usage, bottleneck
from pipeframe_async._rules.failures import FailureBudget
from pipeframe_async._rules.feed_forms import Feed
from pipeframe_async._rules.ledger import Ledger, Outcome
from pipeframe_async._rules.lifecycle import Lifecycle
from pipeframe_async._rules.timing import StepClock
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import InternalError, PipeFrameError, PipelineFailed
from pipeframe_async.plan import Plan
from pipeframe_async.report import EndedBy, RunReport, Stats


@dataclass(frozen=True, slots=True)
class Limits:
    """The frame's knobs that a run needs. Records, bytes, seconds."""

    buffer_size: int
    buffer_bytes: int
    drain_timeout: float


class Run:
    """One run of a plan.

    Args:
        plan: the checked pipeline.
        feed: its feed.
        executor: where its steps run; not closed here.
        limits: the frame's.
        streaming: whether somebody will iterate `results`.
    """

    def __init__(self, plan: Plan, feed: Feed, executor: Executor, limits: Limits, *, streaming: bool = False) -> None:
        self._plan = plan
        self._executor = executor
        self._limits = limits
        self._life = Lifecycle()
        self._ledger = Ledger(limits.buffer_size, limits.buffer_bytes)
        self._freed = Bell()
        self._backlog = Backlog(self._ledger, Spill(executor.codec, plan.chain.names[0]))
        self._restarts_before = executor.restarts
        self._clocks = [StepClock(name, executor.where) for name in plan.chain.names]
        self._collect = Collect(
            keep_order=plan.keep_order, budget=FailureBudget(plan.max_failures), tripped=lambda: self._trip()
        )
        self._sizer = Sizer(
            fixed=plan.batch_size,
            capacity=limits.buffer_size,
            capacity_bytes=limits.buffer_bytes,
            slots=sum(lane.slots for lane in executor.lanes),
        )
        self._handles = Handles()
        self._intake = Intake(
            feed=feed,
            handles=self._handles,
            name=plan.name,
            ledger=self._ledger,
            backlog=self._backlog,
            freed=self._freed,
            sizer=self._sizer,
            timeout=plan.timeout,
            whole=plan.source == "batch",
        )
        self._intake.on_stop = self._life.drain
        self._dead_letter = HookCaller(plan.dead_letter, "dead_letter") if plan.dead_letter else None
        self._sink = HookCaller(plan.sink, "sink") if plan.sink and not streaming else None
        self.results: Results[Any] = Results(self._settle)
        self._consumer = self._choose_consumer(streaming)
        self._ships = streaming or self._sink is not None
        self._deliver = Deliver(self._collect, self._consumer, self._dead_letter)
        self._dispatch: Dispatch | None = None
        self._give_up = asyncio.Event()
        self._started, self._started_cpu = time.perf_counter(), time.thread_time()
        self._ended: float | None = None
        self.left_work = False  # batches were given up while a worker had them

    def _choose_consumer(self, streaming: bool) -> Consumer:
        if streaming:
            return self.results
        if self._sink is not None:
            return Sink(self._sink, self._settle_answer)
        return Counting(self._settle_answer)

    async def execute(self) -> RunReport:
        """Run to the end.

        Returns:
            The report, when everything fed has its outcome.

        Raises:
            PipeFrameError: the feed, a step's frame, the sink or a worker failed, or too many records did; its
                `report` has the books.

        Cancellation: what is in flight is aborted; the books balance all the same.
        """
        error: BaseException | None = None
        try:
            try:
                await self._work()
            finally:
                await self._release()
        except asyncio.CancelledError as cancelled:
            self._life.close("cancelled")
            error = cancelled
        except BaseException as failed:
            self._life.close("failed")
            error = failed
        else:
            error = self._intake.error or self._too_many_failures()
            self._life.close("failed" if error else None)
        return self._conclude(error)

    def stop(self, why: EndedBy = "stopped") -> None:
        """Take no more records; finish what is in flight, for `drain_timeout` seconds at most."""
        self._intake.stop(why)
        asyncio.get_running_loop().call_later(self._limits.drain_timeout, self._give_up.set)

    def abandon(self) -> None:
        """The one who iterated has left: abort what is in flight, and end as stopped."""
        self._intake.stop("stopped")
        self._give_up.set()

    def stats(self) -> Stats:
        """The books as they are now."""
        if self._ended is None:
            self._backlog.note()
        return self._ledger.stats(
            elapsed=(self._ended or time.perf_counter()) - self._started,
            worker_restarts=self._executor.restarts - self._restarts_before,
        )

    async def _work(self) -> None:
        dispatch = self._dispatch = Dispatch(
            lanes=self._executor.lanes,
            codec=self._executor.codec,
            chain=self._executor.load(self._plan.chain),
            names=self._plan.chain.names,
            ship=self._ships,
            backlog=self._backlog,
            ledger=self._ledger,
            sizer=self._sizer,
            clocks=self._clocks,
            collect=self._collect.add,
        )
        slots = [dispatch.serve(lane) for lane in self._executor.lanes for _ in range(lane.slots)]
        feeding = [self._spawn("intake", self._feed()), *(self._spawn("slot", slot) for slot in slots)]
        delivering = self._spawn("deliver", self._deliver.run())
        giving_up = self._spawn("give-up", self._give_up.wait())
        try:
            await self._all(feeding, giving_up, delivering)
            self._collect.end()
            await self._all([delivering], giving_up)
            await self._all_taken(giving_up)
        finally:
            self.left_work = dispatch.working
            await _cancelled([*feeding, delivering, giving_up])

    async def _feed(self) -> None:
        await self._intake.run()
        self._life.drain("failed" if self._intake.error else "exhausted")
        if self._collect.failed:
            self._backlog.drop()  # what a feed still handed over while it was being stopped

    async def _all(self, tasks: list[asyncio.Task[Any]], *watched: asyncio.Task[Any]) -> None:
        """Wait for the tasks, unless one of them or of the watched fails, or it is time to give up."""
        waiting = {*tasks}
        while waiting and not self._give_up.is_set():
            done, _ = await asyncio.wait([*waiting, *watched], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            waiting -= done

    async def _all_taken(self, giving_up: asyncio.Task[Any]) -> None:
        """Wait until the one who iterates has everything."""
        while not self.results.drained() and not self._give_up.is_set():
            freed = self._spawn("freed", self._freed.wait())
            await asyncio.wait([freed, giving_up], return_when=asyncio.FIRST_COMPLETED)
            await _cancelled([freed])

    def _spawn(self, part: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, name=f"pipeframe-{self._plan.name}-{part}")

    def _settle_answer(self, answer: Answer) -> None:
        self._settle(answer, answer.outcome)

    def _settle(self, answer: Answer, outcome: Outcome, taken: int | None = None) -> None:
        """The one place where permits are released and handles answered; `taken` as in `Handles.settled`."""
        self._ledger.settle(answer.number, outcome)
        self._handles.settled(answer, taken)
        self._freed.ring()
        if self._dispatch is not None and self._dispatch.starved:
            self._backlog.bell.ring()

    def _trip(self) -> None:
        """Too many failures: what has not been sent is aborted, what is in the lanes is finished."""
        self._life.drain("failed")
        self.stop("failed")
        self._backlog.drop()

    def _too_many_failures(self) -> PipelineFailed | None:
        if not self._collect.failed:
            return None
        failures = self._collect.failures
        failed = self._ledger.total.failed
        error = PipelineFailed(
            f"{failed:,} record{'s' if failed != 1 else ''} failed, more than max_failures="
            f"{self._plan.max_failures!r} allows; the first: {failures[0]}",
            failures,
        )
        if failures[0].traceback:
            error.add_note(f"In the worker:\n{failures[0].traceback}")
        return error

    async def _release(self) -> None:
        """Close the books, whatever happened: each record has its outcome now, each handle its answer."""
        self._backlog.note()
        self.results.abandon()
        self._backlog.spill.close()
        self._ledger.abort_rest()
        self._handles.abort_rest()
        await self._handles.answered(self._limits.drain_timeout)

    def _conclude(self, error: BaseException | None) -> RunReport:
        """Say what happened, in the report and in the error."""
        self._ended = time.perf_counter()
        for hook in (self._sink, self._dead_letter):
            if hook is not None:
                hook.close()
        report = self._report()
        if isinstance(error, PipeFrameError):
            error.report = report
        try:
            self._ledger.audit(final=True)
        except InternalError as broken:
            broken.report, broken.__cause__ = report, error
            error = broken
        self.results.end(report, error)
        if error is not None:
            raise error
        return report

    def _report(self) -> RunReport:
        stats = self.stats()
        steps = tuple(clock.report() for clock in self._clocks)
        return RunReport(
            fed=stats.fed,
            emitted=stats.emitted,
            delivered=stats.delivered,
            bypassed=stats.bypassed,
            filtered=stats.filtered,
            failed=stats.failed,
            aborted=stats.aborted,
            retried=stats.retried,
            re_executed=stats.re_executed,
            worker_restarts=stats.worker_restarts,
            elapsed=stats.elapsed,
            ended_by=self._life.ended_by,
            steps=steps,
            bottleneck=bottleneck(self._usage(stats.elapsed), steps),
        )

    def _usage(self, elapsed: float) -> Usage:
        hooks = [hook for hook in (self._sink, self._dead_letter) if hook is not None]
        return Usage(
            elapsed=elapsed,
            workers=sum(lane.workers for lane in self._executor.lanes),
            work=self._dispatch.work_seconds if self._dispatch else 0.0,
            loop=time.thread_time() - self._started_cpu,
            delivering=sum(hook.seconds for hook in hooks),
            taking=elapsed - self.results.waited if self._consumer is self.results else 0.0,
        )


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; an outer cancel that comes meanwhile is passed on at the end."""
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as never retrieved
    if cancelled is not None:
        raise cancelled
