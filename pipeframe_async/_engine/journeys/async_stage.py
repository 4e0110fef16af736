"""A run of `async def` steps: parts of records go through them on the loop, so many at a time.

Comes in: parts. Goes out: what each came to. A part is in no worker meanwhile, and in nobody's way but that of the
parts that wait for their turn.

Tasks: one a part, so that what a step sets (context variables, a cancel) ends with its record, and what it sees is its
caller's, or that of whoever began the run; and the one that serves, which owns them all and ends with the last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from contextvars import copy_context
from types import GeneratorType
from typing import Any

from pipeframe_async._engine.feeding.backlog import Backlog
from pipeframe_async._engine.journeys.journeys import Journeys, failed
from pipeframe_async._engine.settling.traces import Traces
from pipeframe_async._engine.supervise import PUNCTUAL, ended, spawn
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.journey import Came, Part
from pipeframe_async._rules.retry import Retrying
from pipeframe_async._rules.timing import StepClock
from pipeframe_async.counting import Counts, count_in
from pipeframe_async.failures import WrongShape, pair_of
from pipeframe_async.model import DROP
from pipeframe_async.plan import AsyncSteps
from pipeframe_async.stats import StageStats
from pipeframe_async.traceparent import within
from pipeframe_async.wire import StepTimes

ONE_BY_ONE = Sizer(fixed=1, capacity=2**62, capacity_bytes=2**62, slots=1)
"""Records go to it as they come, and any number may wait."""


class AsyncStage:
    """One run of async steps.

    Args:
        index: which stage of the run it is.
        segment: its steps, and their time limit.
        concurrency: how many parts are at work at a time.
        backlog: its bell rings when there may be something to do.
        journeys: whose parts come.
        retrying: which failures are worth another attempt; None where none is.
        counters: what steps have counted.
        traces: of records that are in one.

    Attributes:
        names: of the steps.
        clocks: one a step.
        sizer: how many records it waits for.
        seconds: that parts were at work, all together.
    """

    on_the_loop = True

    def __init__(
        self,
        index: int,
        segment: AsyncSteps,
        concurrency: int,
        *,
        backlog: Backlog,
        journeys: Journeys,
        retrying: Retrying | None,
        counters: Counts,
        traces: Traces,
    ) -> None:
        self._index = index
        self._steps = segment.steps
        self.names = segment.names
        self._limit = segment.time_limit
        self.concurrency = concurrency
        self._backlog = backlog
        self._journeys = journeys
        self.clocks = [StepClock(name, "loop") for name in segment.names]
        self._retrying = retrying
        self._counters = counters
        self._traces = traces
        self.sizer = ONE_BY_ONE
        self._context = copy_context()  # of whoever began the run; nobody who happens to start a task here gives his
        self._waiting: dict[Part, None] = {}  # in order; a dict, for they leave from anywhere
        self._running: dict[asyncio.Task[None], Part] = {}
        self._tasks: dict[Part, asyncio.Task[None]] = {}  # of each part the last: it may come again soon
        self._broken: BaseException | None = None
        self._closed = False
        self.seconds = 0.0

    def __repr__(self) -> str:
        return f"<{len(self._running)} at work, {len(self._waiting)} waiting>"

    @property
    def working(self) -> bool:
        """Whether a step is at work."""
        return bool(self._running)

    def stats(self) -> StageStats:
        """What waits for it, and what is at work. Looks only, so any thread may ask."""
        name, done = " → ".join(self.names), self.clocks[0].calls
        return StageStats(name, "steps", len(self._waiting), 0, len(self._running), 0, done)

    @property
    def line(self) -> int:
        """Parts that wait for their turn."""
        return len(self._waiting)

    @property
    def at_work(self) -> int:
        """Parts that are in a step."""
        return len(self._running)

    def put(self, part: Part) -> None:
        """It begins at once where it is its turn."""
        self._waiting[part] = None
        part.goes_to(self)
        self._start()

    def withdraw(self, part: Part) -> bool:
        """Remove a part that waits; cancel one that is at work."""
        if part in self._waiting:
            del self._waiting[part]
            return True
        if (task := self._tasks.get(part)) is not None:
            task.cancel()
        return False

    def clear(self) -> list[Part]:
        """Remove the parts that wait."""
        taken, self._waiting = [*self._waiting], {}
        return taken

    async def serve(self) -> None:
        """Take in what waits, if this is the first stage, until nothing more comes.

        Cancellation: the parts at work are cancelled with it, and waited for.

        Raises:
            InternalError: whatever went wrong here, and not in a step.
        """
        try:
            while True:
                self._fill()
                if self._broken is not None:
                    raise self._broken
                if self._backlog.exhausted and not self._journeys.alive:
                    return
                await self._backlog.bell.wait()  # rung by intake, by settling, and by what ends here
        finally:
            self._closed = True
            await ended(list(self._running))  # `_closed` keeps any more from being started meanwhile

    def _fill(self) -> None:
        """Take in as many as there are places for, if this is the first stage."""
        self._start()
        if self._index == 0 and not self._closed:
            self._journeys.admit(lambda: self.concurrency - len(self._running) - len(self._waiting))

    def _start(self) -> None:
        while self._waiting and len(self._running) < self.concurrency and not self._closed:
            part = next(iter(self._waiting))
            if self._index == 0:
                if self._journeys.sorted_out((part,)):
                    continue
                self._journeys.begin((part,))
            del self._waiting[part]
            context = (part.journey.context or self._context).copy()
            task = spawn(self._walk(part), f"pipeframe-step-{self.names[part.step]}", context)
            self._running[task], self._tasks[part] = part, task
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        part = self._running.pop(task)
        if self._tasks[part] is task:
            del self._tasks[part]
        if self._closed:
            if not task.cancelled():
                task.exception()  # looked at: the run ends by another
            return
        if task.cancelled():
            self._journeys.give_up(part)
        elif (error := task.exception()) is not None:
            self._broken = error
        try:
            self._fill()
        except Exception as error:  # nobody calls this who could be told: `serve` raises it
            self._broken = self._broken or error
        if self._broken or self._index == 0:
            self._backlog.bell.ring()

    async def _walk(self, part: Part) -> None:
        """One part's way through the steps that are left to it."""
        count_in(self._counters)  # in the context of this task, which ends with it
        if (trace := self._traces.of(part.journey.position)) is not None:
            within(trace.traceparent)
        started = (clock := asyncio.get_running_loop().time)()
        begin = self._index, part.step
        value = self._journeys.thaw(part.value)
        if self._retrying is not None:
            part.becomes(self._journeys.freeze(part.value))
        try:
            came, at = await self._through(part, value)  # it is this task's; its journey may be withdrawn
        finally:
            self.seconds += clock() - started
        onward = (self._index, at) if at < len(self._steps) else (self._index + 1, 0)
        self._journeys.came(part, came, begin, onward)

    async def _through(self, part: Part, value: Any) -> tuple[Came, int]:
        """What a part's value comes to from its step on; and the step its children go on with."""
        limit, at = asyncio.timeout(None), part.step
        timer = None if self._limit is None else _Timer(limit, self._limit)
        try:
            async with limit:
                while at < len(self._steps):
                    outcome = await self._timed(part, at, value)  # a withdrawal or the end of the run cancels here
                    at += 1
                    if type(outcome) is list:
                        return _children(outcome), at
                    if outcome is DROP:
                        return Came(filtered=1), at
                    value, goes_on = outcome
                    if not goes_on:
                        return Came(((value, True),)), at
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return self._failed(error, at), at  # what the step had waited for was cancelled
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self._failed(error, at, timed_out=limit.expired() and isinstance(error, TimeoutError)), at
        finally:
            if timer is not None:
                timer.cancel()
        return Came(((value, False),)), at

    async def _timed(self, part: Part, at: int, value: Any) -> Any:
        """One step: `(record, keep_going)`, `DROP`, or a list of the pairs of a fan-out."""
        started = time.perf_counter_ns()
        failed = True
        try:
            outcome = await _outcome(self._steps[at], self.names[at], value)
            failed = False
            return outcome
        finally:
            spent = time.perf_counter_ns() - started
            if (trace := self._traces.of(part.journey.position)) is not None:
                ended = time.time_ns()
                trace.step(self.names[at], ended - spent, ended, failed=failed)
            self.clocks[at].add(StepTimes(1, 1, spent, (spent,), spent), part.journey.position)

    def _failed(self, error: BaseException, at: int, *, timed_out: bool = False) -> Came:
        failure = failed(error, self.names[min(at, len(self.names) - 1)], None, timed_out=timed_out, caller=__file__)
        again = False
        if self._retrying is not None and not isinstance(error, WrongShape):
            again = self._retrying.worth(failure.kind, matched=self._retrying.matches(error))
        return Came(failures=(failure,), again=again)


class _Timer:
    """Ends what is within a timeout when its time is over. While something keeps the loop no step can go on, and none
    is ended for that: it has as long again, up to twice its time in all.

    Args:
        timeout: what is ended.
        seconds: its time.
    """

    def __init__(self, timeout: asyncio.Timeout, seconds: float) -> None:
        self._timeout = timeout
        self._late = min(PUNCTUAL, seconds / 10)
        self._grace = seconds
        self._loop = asyncio.get_running_loop()
        self._arm(self._loop.time() + seconds)

    def cancel(self) -> None:
        """It has ended by itself."""
        self._handle.cancel()

    def _arm(self, due: float) -> None:
        self._due = due
        self._handle = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if self._grace and (late := now - self._due) > self._late:
            more = min(late, self._grace)
            self._grace -= more
            self._arm(now + more)
        else:
            self._timeout.reschedule(now)  # behind those that were woken: they may be done


async def _outcome(step: Callable[[Any], Any], name: str, value: Any) -> Any:
    called = step(value)
    if isinstance(called, AsyncGenerator):
        async with aclosing(called):
            return [pair_of(name, child, "yielded") async for child in called]
    outcome = await called if isinstance(called, Awaitable) else called
    if outcome is DROP:
        return DROP
    if isinstance(outcome, GeneratorType):
        return [pair_of(name, child, "yielded") for child in outcome]
    return pair_of(name, outcome, "returned")


def _children(pairs: list[tuple[Any, bool]]) -> Came:
    """What a fan-out came to; with no children the record is filtered."""
    return Came(tuple((value, not goes_on) for value, goes_on in pairs), filtered=0 if pairs else 1)
