"""One run's life: its organs are started, watched and ended, and what happened is said.

    feeding ──► draining ──► closed

Comes in: a plan, a feed, a workforce. Goes out: a report, or an error that has it. An error in any organ ends them all;
whatever way it ends, every record has an outcome and no task is left. What the organs are is in `wiring.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.delivering.results import Results
from pipeframe_async._engine.feeding.source import CLOSE_TIMEOUT
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.living import first_error
from pipeframe_async._engine.settling.checkpoint import Job
from pipeframe_async._engine.stall import Watched, all_stacks, describe
from pipeframe_async._engine.supervise import ended, finished, spawn
from pipeframe_async._engine.usage import Accounts
from pipeframe_async._engine.wiring import Limits, Ways, wired
from pipeframe_async._rules.feed_forms import Feed
from pipeframe_async._rules.lifecycle import Lifecycle, State
from pipeframe_async.contracts import RunTrace
from pipeframe_async.errors import InternalError, PipeFrameError, PipelineFailed, StateError
from pipeframe_async.plan import Plan
from pipeframe_async.report import RunReport
from pipeframe_async.stats import EndedBy, RunKind, RunStats, Stats

logger = logging.getLogger("pipeframe_async")


class Run:
    """One run of a plan.

    Args:
        plan: the checked pipeline.
        feed: its feed.
        workforce: whose lanes its steps run in; not closed here.
        limits: the frame's.
        streaming: whether somebody will iterate `results`.
        calls: who else takes them, each by itself; None where nobody does.
        job: what is kept of it, where it has a checkpoint.
        on_end: called when it is over.
        number: tells it from others of its frame, where it is shown.
        trace: makes its spans, where anybody traces.

    Attributes:
        organs: what it is made of.
        left_work: batches were given up while a worker had them.
        report: of a run that is over.
    """

    def __init__(
        self,
        plan: Plan,
        feed: Feed,
        workforce: Workforce,
        limits: Limits,
        *,
        streaming: bool = False,
        calls: Calls | None = None,
        job: Job | None = None,
        on_end: Callable[[], object] = lambda: None,
        number: int = 1,
        trace: RunTrace | None = None,
    ) -> None:
        self._trace = trace
        self._plan = plan
        self._drain_timeout = limits.drain_timeout
        self._life = Lifecycle()
        ways = Ways(dried=self._dried, tripped=self._trip)
        self.organs = wired(plan, feed, workforce, limits, ways, streaming=streaming, calls=calls, job=job, trace=trace)
        kind: RunKind = "calls" if calls is not None else "stream" if streaming else "run"
        about = RunStats(plan.name, number=number, kind=kind, began=time.time(), time_limit=plan.time_limit)
        self._accounts = Accounts(self.organs, about)
        self._give_up = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._entering: asyncio.Task[Any] | None = None  # the one in which feed and sink are being opened
        self._cut_short = False  # that was cancelled by us
        self._entered = False  # all that has to be opened is, and set back
        self._on_end = on_end
        self.left_work = False
        self.report: RunReport | None = None

    @property
    def results(self) -> Results[Any]:
        """For the one who iterates."""
        return self.organs.results

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
                if await self._enter():
                    await self._work()
            finally:
                await self._close()  # no organ is at work any more
        except BaseException as failed:
            error = failed
        else:
            error = self.organs.intake.error or self._too_many_failures()
        error = await self._leave(error)
        for hook in self.organs.hooks.there:
            hook.close()
        self._life.close("cancelled" if isinstance(error, asyncio.CancelledError) else "failed" if error else None)
        return self._conclude(error)

    async def _leave(self, error: BaseException | None) -> BaseException | None:
        """Close what was opened, between a job's last state and the word that it is done; what has ended the run."""
        checkpoint = self.organs.checkpoint if self._entered else None
        if checkpoint is not None:
            error = await first_error(checkpoint.save(), error)
        error = await self.organs.lives.leave(error)  # whatever that raises is its own and in `error`
        if checkpoint is not None and error is None and self._life.ended_by == "exhausted":
            error = await first_error(checkpoint.finish(), error)
        return error

    async def _enter(self) -> bool:
        """Open what has to be; false where the run was stopped meanwhile, or is of a job that is done."""
        checkpoint = self.organs.checkpoint
        if checkpoint is not None and checkpoint.finished:
            self.organs.books.ledger.skip(checkpoint.skipped)
            return False
        task = asyncio.current_task()
        assert task is not None
        self._entering = task
        try:
            await self.organs.lives.enter()  # the user's; `stop` cancels here
            if checkpoint is not None:
                await checkpoint.restore()  # the user's too
            self._entered = True
        except asyncio.CancelledError:
            if not self._cut_short or task.cancelling() > 1:
                raise
        finally:
            self._entering = None
            if self._cut_short:
                task.uncancel()
        return not self.stopping

    def is_of(self, pipeline: object) -> bool:
        """Whether it runs this pipeline: this very instance, or one that was made of this class."""
        return self._plan.pipeline is pipeline or type(self._plan.pipeline) is pipeline

    def stop(self, why: EndedBy = "stopped") -> None:
        """Take no more records; finish what is in flight, for `drain_timeout` seconds at most."""
        self._stop_feeding(why)
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(self._drain_timeout, self._give_up.set)

    def abandon(self) -> None:
        """Take no more records and give up what is in flight: the one who iterated has left."""
        self._stop_feeding("stopped")
        self._give_up.set()

    def _dried(self) -> None:
        """The feed gave nothing for `timeout` seconds. It may have been at work: that is said, for nobody else will."""
        if not self.stopping:
            logger.warning(
                "the feed of %s gave nothing for timeout=%g s and was ended while it was still at work; "
                "timeout=None waits for it",
                self._plan.name,
                self._plan.timeout,
            )
        self._stop_feeding("idle")

    def _stop_feeding(self, why: EndedBy) -> None:
        if self._entering is not None and not self.stopping:
            self._cut_short = self._entering.cancel()  # nothing has been fed
        self._life.drain(why)
        self.organs.intake.stop()

    @property
    def stopping(self) -> bool:
        """Whether no more is fed."""
        return self._life.state is not State.FEEDING

    @property
    def over(self) -> bool:
        """Whether everything has its outcome; the one who iterates may still be looking at what it was handed."""
        return self._life.state is State.CLOSED

    def stats(self) -> Stats:
        """The books as they are now. Looks only, so any thread may ask."""
        return self._accounts.stats()

    def seen(self) -> RunStats:
        """All there is to see of it as it is now. Any thread may ask."""
        seen = self._accounts.seen(self._life.state.value, self.organs.workforce.stats())
        return replace(seen, ended_by=self._life.ended_by if self.stopping else None)

    async def _work(self) -> None:
        """Start the organs; they end from left to right.

        Runs in the task of `execute`, which owns all tasks made here and ends them on every way out. While it waits
        any of them may fail, records move, and `stop`, `abandon` or a cancel may come in.
        """
        organs = self.organs
        feed = self._spawn("intake", self._feed())
        serving = [self._spawn(organ, work) for organ, work in organs.serving()]
        delivering = self._spawn("deliver", organs.deliver.run())
        give_up = self._spawn("give-up", self._give_up.wait())
        after = []  # what comes to its end when everything is delivered
        if organs.watermark is not None and not self._plan.puts_off:
            after.append(self._spawn("watermark", organs.watermark.run()))
        checkpoint = [] if organs.checkpoint is None else [self._spawn("checkpoint", organs.checkpoint.run())]
        organs.stall.begin(Watched(organs.waits_for, self._accounts.moved, self._state))
        try:
            # Slots end when nothing is left. An error of any organ ends the wait, and a stop that lasts too long.
            await finished(serving, give_up, watched=[feed, delivering, organs.stall.found, *checkpoint])
            organs.collect.end()
            await finished(
                [delivering], give_up, watched=[feed, organs.stall.found, *checkpoint]
            )  # the sink may take its time
            after.append(self._spawn("taken", organs.results.drained()))
            await finished(after[-1:], give_up, watched=[feed])
            if organs.watermark is not None:
                organs.watermark.end()
            # Whatever has ended the feed, and however slow the source is: nobody else is waited for any more.
            after.append(self._spawn("answered", organs.books.handles.answered(self._drain_timeout)))
            await finished(after, give_up, watched=[feed])
            organs.intake.close()  # what it has opened was needed until here
            await finished([feed], give_up)  # the user's clean-up
        finally:
            organs.stall.end()
            self.left_work = organs.dispatch.working
            organs.intake.close()
            try:
                await ended(
                    [*serving, delivering, *after, *checkpoint, give_up]
                )  # each is cancelled; what it holds is given up
            finally:
                await ended([feed], patience=CLOSE_TIMEOUT)  # a feed that cleans up is not cut short by a second cancel

    def _state(self) -> str:
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith(f"pipeframe-{self._plan.name}-")]
        return f"backlog {self.organs.backlog}, lanes {self.organs.dispatch}\n{describe(tasks)}\n{all_stacks()}"

    async def _feed(self) -> None:
        """The intake task: pulls the feed, and is the one in which it is closed."""
        organs = self.organs
        await organs.intake.run()  # `stop` may have turned the life to draining by the time it returns
        self._life.drain("failed" if organs.intake.error else "exhausted")
        if organs.collect.failed:
            organs.backlog.abort()  # what a feed still handed over while it was being stopped

    def _spawn(self, organ: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return spawn(work, f"pipeframe-{self._plan.name}-{organ}")

    def _trip(self) -> None:
        """Too many failures: what has not been sent is aborted, what is in the lanes is finished."""
        self.stop("failed")
        self.organs.backlog.abort()
        self.organs.journeys.abort()

    def _too_many_failures(self) -> PipelineFailed | None:
        collect = self.organs.collect
        if not collect.failed:
            return None
        failures, failed = collect.failures, self.organs.books.ledger.total.failed
        error = PipelineFailed(
            f"{failed:,} record{'s' if failed != 1 else ''} failed, more than max_failures="
            f"{self._plan.max_failures!r} allows; the first: {failures[0]}",
            failures,
        )
        if failures[0].traceback:
            error.add_note(f"In the worker:\n{failures[0].traceback}")
        if failures[0].log:
            error.add_note(f"Logged last:\n{failures[0].log}")
        return error

    async def _close(self) -> None:
        """Close the books, whatever happened: each record has its outcome now, each handle its answer.

        Runs in the task of `execute`, after all others have ended: only handles move across the await.
        """
        if self._deadline is not None:
            self._deadline.cancel()
        try:
            self.organs.journeys.close()
            self.organs.backlog.close()
            self.organs.results.abandon()
            self.organs.aside.shutdown()
        finally:  # whatever went wrong: handles are answered, and permits released
            await self.organs.books.close(self._drain_timeout)

    def _conclude(self, error: BaseException | None) -> RunReport:
        """Say what happened, in the report and in the error."""
        self.report = report = self._accounts.conclude(self._life.ended_by)
        self._on_end()
        if isinstance(error, PipeFrameError):
            error.report = report
        try:
            self.organs.books.ledger.audit(final=True)
        except InternalError as broken:
            broken.report, broken.__cause__ = report, error
            error = broken
        self.organs.books.traces.close()
        if self._trace is not None:
            self._trace.ended(report, error)
        cancelled = isinstance(error, asyncio.CancelledError)  # that was not meant for the one who iterates
        self.results.end(report, StateError("the run was cancelled") if cancelled else error)
        if error is not None:
            raise error
        return report
