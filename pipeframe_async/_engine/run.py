"""One run: the parts made, joined by bounded queues, started, watched and ended. The only wiring there is.

    intake ─► backlog ─► dispatch (a task per lane slot) ─► collect ─► deliver ─► consumer
       ▲                                                                             │
       └──────────────────────────── permits (ledger, freed bell) ───────────────────┘

An error in any part ends them all; whatever way it ends, every record has an outcome and no task is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Answer
from pipeframe_async._engine.books import Books
from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.collect import Collect
from pipeframe_async._engine.deliver import Consumer, Counting, Deliver, HookCaller, Sink
from pipeframe_async._engine.intake import Intake
from pipeframe_async._engine.journeys import Tie
from pipeframe_async._engine.open_feed import CLOSE_TIMEOUT
from pipeframe_async._engine.progress import Progress
from pipeframe_async._engine.results import Results
from pipeframe_async._engine.spill import Spill
from pipeframe_async._engine.stall import StallDetector, all_stacks, describe
from pipeframe_async._engine.supervise import ended, finished
from pipeframe_async._engine.way import Limits, Way
from pipeframe_async._rules.bottleneck import Usage
from pipeframe_async._rules.failures import FailureBudget
from pipeframe_async._rules.feed_forms import Feed
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async._rules.lifecycle import Lifecycle, State
from pipeframe_async._rules.ordering import AsFed, AsFinished, Sequencer
from pipeframe_async._rules.summary import summary
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import InternalError, PipeFrameError, PipelineFailed, StateError
from pipeframe_async.plan import Plan
from pipeframe_async.report import EndedBy, RunReport, Stats


class Run:
    """One run of a plan.

    Args:
        plan: the checked pipeline.
        feed: its feed.
        executor: where its steps run; not closed here.
        limits: the frame's.
        streaming: whether somebody will iterate `results`.
        calls: who else takes them, each by itself; None where nobody does.
    """

    def __init__(
        self,
        plan: Plan,
        feed: Feed,
        executor: Executor,
        limits: Limits,
        *,
        streaming: bool = False,
        calls: Calls | None = None,
    ) -> None:
        self._plan = plan
        self._executor = executor
        self._limits = limits
        self._life = Lifecycle()
        self.books = Books(Ledger(limits.buffer_size, limits.buffer_bytes))
        self._sink = HookCaller(plan.sink, "sink") if plan.sink and not streaming else None
        self._dead_letter = HookCaller(plan.dead_letter, "dead_letter") if plan.dead_letter else None
        self.results: Results[Any] = Results(self.books.settle)
        self._told: Progress | None = None
        self._connect(feed, streaming, calls)
        self._give_up = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._restarts_before = executor.restarts
        self._started, self._started_cpu = time.perf_counter(), time.thread_time()
        self._ended: float | None = None
        self.left_work = False  # batches were given up while a worker had them
        self.report: RunReport | None = None
        self.on_end: Callable[[], object] = lambda: None

    def _connect(self, feed: Feed, streaming: bool, calls: Calls | None) -> None:
        """Make the moving parts and join them, from the feed to the consumer."""
        plan, limits, executor = self._plan, self._limits, self._executor
        self._backlog = Backlog(self.books.ledger, Spill(executor.codec, plan.names[0], limits.buffer_bytes))
        self._backlog.on_taken = self.books.freed.ring
        keep = streaming or self._sink is not None or calls is not None
        tie = Tie(plan.order, len(executor.lanes)) if callable(plan.order) else None
        self._collect = Collect(
            sequencer=_sequencer(plan.order, tie, told_apart=keep or self._dead_letter is not None),
            budget=FailureBudget(plan.max_failures),
            tripped=self._trip,
        )
        self._way = Way(
            plan,
            executor,
            limits,
            books=self.books,
            backlog=self._backlog,
            collect=self._collect.add,
            keep=keep,
            tie=tie,
            apart=calls is not None,
        )
        self._intake = Intake(
            feed=feed,
            name=plan.name,
            books=self.books,
            backlog=self._backlog,
            sizer=self._way.sizer,
            timeout=plan.timeout,
            whole=plan.source == "batch",
            dried=lambda: self._stop_feeding("idle"),
            moved=lambda: self._stall.touch(),
        )
        self._stall = StallDetector(waits_for=self._waits_for, progress=self._progress, state=self._state)
        self.books.on_settled = self._settled
        if plan.on_progress is not None:
            self._told = Progress(HookCaller(plan.on_progress, "on_progress"))
            self.books.on_final = self._told.settled
        consumer: Consumer = self.results if streaming else Counting(self.books)
        if self._sink is not None:
            consumer = Sink(self._sink, self.books)
        if calls is not None:
            calls.join(self.books, self._way.journeys)
            consumer = calls
        self._deliver = Deliver(self._collect, consumer, self._dead_letter)

    async def execute(self) -> RunReport:
        """Run to the end.

        Returns:
            The report, when everything fed has its outcome.

        Raises:
            PipeFrameError: the feed, the sink or a worker failed, or too many records did; its `report` has
                the books.

        Cancellation: what is in flight is aborted; the books balance all the same.
        """
        error: BaseException | None = None
        try:
            try:
                await self._work()
            finally:
                await self._close()
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
        self._stop_feeding(why)
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._limits.drain_timeout, self._give_up.set)

    def abandon(self) -> None:
        """Take no more records and give up what is in flight: the one who iterated has left."""
        self._stop_feeding("stopped")
        self._give_up.set()

    def _stop_feeding(self, why: EndedBy) -> None:
        self._life.drain(why)
        self._intake.stop()

    @property
    def stopping(self) -> bool:
        """Whether no more is fed."""
        return self._life.state is not State.FEEDING

    @property
    def over(self) -> bool:
        """Whether everything has its outcome; the one who iterates may still be looking at what it was handed."""
        return self._ended is not None

    def stats(self) -> Stats:
        """The books as they are now. Looks only, so any thread may ask."""
        return self.books.ledger.stats(
            unbooked=self._backlog.unbooked if self._ended is None else 0,
            elapsed=(self._ended or time.perf_counter()) - self._started,
            worker_restarts=self._executor.restarts - self._restarts_before,
            ack_errors=self.books.handles.errors + (self._told.errors if self._told is not None else 0),
        )

    async def _work(self) -> None:
        """Start the parts; they end from left to right."""
        feed = self._spawn("intake", self._feed())
        feeding = [feed, *(self._spawn(part, work) for part, work in self._way.serving())]
        delivering = self._spawn("deliver", self._deliver.run())
        give_up = self._spawn("give-up", self._give_up.wait())
        after = []  # what comes to its end when everything is delivered
        if self._told is not None:
            after.append(self._spawn("progress", self._told.run()))
        self._stall.touch()
        watched = [delivering, self._stall.found]
        try:
            await finished(feeding, give_up, watched=watched)
            self._collect.end()
            await finished([delivering], give_up, watched=watched[1:])
            after.append(self._spawn("taken", self.results.drained()))
            await finished(after[-1:], give_up)
            if self._told is not None:
                self._told.end()
            await finished(after, give_up)
        finally:
            self._stall.end()
            self.left_work = self._way.dispatch.working
            self._intake.stop()
            try:
                await ended([*feeding[1:], delivering, *after, give_up])
            finally:
                await ended([feed], patience=CLOSE_TIMEOUT)  # a feed that cleans up is not cut short by a second cancel

    def _settled(self) -> None:
        self._way.dispatch.settled()
        self._stall.touch()

    def _waits_for(self) -> str:
        """Whom the run waits for outside of itself; empty where nobody else could move it."""
        hooks = [hook for hook in (self._sink, self._dead_letter, self._told) if hook is not None]
        if there := self._way.waits_for:
            return there
        if any(hook.busy for hook in hooks):
            return "a hook"
        if self.results.waiting:
            return "the consumer"
        feeding = not self._backlog.ended and not self._intake.waits_for_room
        nothing_to_do = self._backlog.held or not self.books.ledger.in_flight
        return "the feed" if feeding and nothing_to_do else ""

    def _progress(self) -> Stats:
        """The books without the clock: the same as before where nothing has moved."""
        return replace(self.stats(), elapsed=0.0)

    def _state(self) -> str:
        backlog = {name: getattr(self._backlog, name) for name in ("waiting", "held", "paused", "ended", "mark")}
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith(f"pipeframe-{self._plan.name}-")]
        return f"backlog {backlog}, lanes {self._way.dispatch}\n{describe(tasks)}\n{all_stacks()}"

    async def _feed(self) -> None:
        await self._intake.run()
        self._life.drain("failed" if self._intake.error else "exhausted")
        if self._collect.failed:
            self._backlog.drop()  # what a feed still handed over while it was being stopped

    def _spawn(self, part: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, name=f"pipeframe-{self._plan.name}-{part}")

    def _trip(self) -> None:
        """Too many failures: what has not been sent is aborted, what is in the lanes is finished."""
        self.stop("failed")
        self._backlog.drop()
        self._way.journeys.drop()

    def _too_many_failures(self) -> PipelineFailed | None:
        if not self._collect.failed:
            return None
        failures, failed = self._collect.failures, self.books.ledger.total.failed
        error = PipelineFailed(
            f"{failed:,} record{'s' if failed != 1 else ''} failed, more than max_failures="
            f"{self._plan.max_failures!r} allows; the first: {failures[0]}",
            failures,
        )
        if failures[0].traceback:
            error.add_note(f"In the worker:\n{failures[0].traceback}")
        return error

    async def _close(self) -> None:
        """Close the books, whatever happened: each record has its outcome now, each handle its answer."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._way.journeys.close()
        self._backlog.note()
        self._backlog.spill.close()
        self.results.abandon()
        for hook in (self._sink, self._dead_letter, self._told):
            if hook is not None:
                hook.close()
        await self.books.close(self._limits.drain_timeout)

    def _conclude(self, error: BaseException | None) -> RunReport:
        """Say what happened, in the report and in the error."""
        self._ended = time.perf_counter()
        self.on_end()
        stats = self.stats()
        self.report = report = summary(stats, self._way.reports(), self._usage(stats.elapsed), self._life.ended_by)
        if isinstance(error, PipeFrameError):
            error.report = report
        try:
            self.books.ledger.audit(final=True)
        except InternalError as broken:
            broken.report, broken.__cause__ = report, error
            error = broken
        cancelled = isinstance(error, asyncio.CancelledError)  # that was not meant for the one who iterates
        self.results.end(report, StateError("the run was cancelled") if cancelled else error)
        if error is not None:
            raise error
        return report

    def _usage(self, elapsed: float) -> Usage:
        usage = Usage(
            elapsed=elapsed,
            loop=time.thread_time() - self._started_cpu,
            delivering=sum(hook.seconds for hook in (self._sink, self._dead_letter) if hook is not None),
            taking=elapsed - self.results.waited if self.results.taken else 0.0,
        )
        return self._way.usage(usage)


def _sequencer(order: object, tie: Tie | None, *, told_apart: bool) -> Sequencer[Answer]:
    """What puts answers in order, where anybody could tell."""
    if not told_apart or order == "completion":
        return AsFinished() if tie is None else tie.lines
    return AsFed() if tie is None else tie.lines
