"""One run's life: its parts are started, watched and ended, and what happened is said.

    feeding ──► draining ──► closed

Comes in: a plan, a feed, a workforce. Goes out: a report, or an error that has it. An error in any part ends them all;
whatever way it ends, every record has an outcome and no task is left. What the parts are is in `wiring.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.delivering.results import Results
from pipeframe_async._engine.feeding.source import CLOSE_TIMEOUT
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.stall import Watched, all_stacks, describe
from pipeframe_async._engine.supervise import ended, finished, spawn
from pipeframe_async._engine.usage import Accounts
from pipeframe_async._engine.wiring import Limits, Ways, wired
from pipeframe_async._rules.feed_forms import Feed
from pipeframe_async._rules.lifecycle import Lifecycle, State
from pipeframe_async.errors import InternalError, PipeFrameError, PipelineFailed, StateError
from pipeframe_async.plan import Plan
from pipeframe_async.report import EndedBy, RunReport, Stats

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
        on_end: called when it is over.

    Attributes:
        parts: what it is made of.
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
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._plan = plan
        self._drain_timeout = limits.drain_timeout
        self._life = Lifecycle()
        ways = Ways(dried=self._dried, tripped=self._trip)
        self.parts = wired(plan, feed, workforce, limits, ways, streaming=streaming, calls=calls)
        self._accounts = Accounts(self.parts)
        self._give_up = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._on_end = on_end
        self.left_work = False
        self.report: RunReport | None = None

    @property
    def results(self) -> Results[Any]:
        """For the one who iterates."""
        return self.parts.results

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
                await self._close()  # no part is at work any more
        except asyncio.CancelledError as cancelled:
            self._life.close("cancelled")
            error = cancelled
        except BaseException as failed:
            self._life.close("failed")
            error = failed
        else:
            error = self.parts.intake.error or self._too_many_failures()
            self._life.close("failed" if error else None)
        return self._conclude(error)

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
        self._life.drain(why)
        self.parts.intake.stop()

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

    async def _work(self) -> None:
        """Start the parts; they end from left to right.

        Runs in the task of `execute`, which owns all tasks made here and ends them on every way out. While it waits
        any of them may fail, records move, and `stop`, `abandon` or a cancel may come in.
        """
        parts = self.parts
        feed = self._spawn("intake", self._feed())
        serving = [self._spawn(part, work) for part, work in parts.serving()]
        delivering = self._spawn("deliver", parts.deliver.run())
        give_up = self._spawn("give-up", self._give_up.wait())
        after = []  # what comes to its end when everything is delivered
        if parts.watermark is not None:
            after.append(self._spawn("watermark", parts.watermark.run()))
        parts.stall.begin(Watched(parts.waits_for, self._accounts.moved, self._state))
        try:
            await finished(serving, give_up, watched=[feed, delivering, parts.stall.found])
            parts.collect.end()
            await finished([delivering], give_up, watched=[feed, parts.stall.found])
            after.append(self._spawn("taken", parts.results.drained()))
            await finished(after[-1:], give_up, watched=[feed])
            if parts.watermark is not None:
                parts.watermark.end()
            # Whatever has ended the feed, and however slow the source is: nobody else is waited for any more.
            after.append(self._spawn("answered", parts.books.handles.answered(self._drain_timeout)))
            await finished(after, give_up, watched=[feed])
            parts.intake.close()  # what it has opened was needed until here
            await finished([feed], give_up)
        finally:
            parts.stall.end()
            self.left_work = parts.dispatch.working
            parts.intake.close()
            try:
                await ended([*serving, delivering, *after, give_up])
            finally:
                await ended([feed], patience=CLOSE_TIMEOUT)  # a feed that cleans up is not cut short by a second cancel

    def _state(self) -> str:
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith(f"pipeframe-{self._plan.name}-")]
        return f"backlog {self.parts.backlog}, lanes {self.parts.dispatch}\n{describe(tasks)}\n{all_stacks()}"

    async def _feed(self) -> None:
        """The intake task: pulls the feed, and is the one in which it is closed."""
        parts = self.parts
        await parts.intake.run()  # `stop` may have turned the life to draining by the time it returns
        self._life.drain("failed" if parts.intake.error else "exhausted")
        if parts.collect.failed:
            parts.backlog.abort()  # what a feed still handed over while it was being stopped

    def _spawn(self, part: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return spawn(work, f"pipeframe-{self._plan.name}-{part}")

    def _trip(self) -> None:
        """Too many failures: what has not been sent is aborted, what is in the lanes is finished."""
        self.stop("failed")
        self.parts.backlog.abort()
        self.parts.journeys.abort()

    def _too_many_failures(self) -> PipelineFailed | None:
        collect = self.parts.collect
        if not collect.failed:
            return None
        failures, failed = collect.failures, self.parts.books.ledger.total.failed
        error = PipelineFailed(
            f"{failed:,} record{'s' if failed != 1 else ''} failed, more than max_failures="
            f"{self._plan.max_failures!r} allows; the first: {failures[0]}",
            failures,
        )
        if failures[0].traceback:
            error.add_note(f"In the worker:\n{failures[0].traceback}")
        return error

    async def _close(self) -> None:
        """Close the books, whatever happened: each record has its outcome now, each handle its answer.

        Runs in the task of `execute`, after all others have ended: only handles move across the await.
        """
        if self._deadline is not None:
            self._deadline.cancel()
        try:
            self.parts.journeys.close()
            self.parts.backlog.close()
            self.parts.results.abandon()
            for hook in self.parts.hooks.there:
                hook.close()
        finally:  # whatever went wrong: handles are answered, and permits released
            await self.parts.books.close(self._drain_timeout)

    def _conclude(self, error: BaseException | None) -> RunReport:
        """Say what happened, in the report and in the error."""
        self.report = report = self._accounts.conclude(self._life.ended_by)
        self._on_end()
        if isinstance(error, PipeFrameError):
            error.report = report
        try:
            self.parts.books.ledger.audit(final=True)
        except InternalError as broken:
            broken.report, broken.__cause__ = report, error
            error = broken
        cancelled = isinstance(error, asyncio.CancelledError)  # that was not meant for the one who iterates
        self.results.end(report, StateError("the run was cancelled") if cancelled else error)
        if error is not None:
            raise error
        return report
