"""Where calls come in, or are refused: each pipeline that is called has a run of its own, which begins with the first
call. Bulk calls of it have another one, of the same chain, which stands behind.

Tasks: one per pipeline, which executes its run and tells those who still wait when it ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any

from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.run import Run
from pipeframe_async._engine.supervise import spawn
from pipeframe_async._rules.admission import LATELY, refusal
from pipeframe_async._rules.sharing import KEPT
from pipeframe_async.plan import Plan, plan_of

MOST_OPEN = 16
"""Pipelines that are kept ready when nobody calls them. More keep what their `setup` has opened; with fewer, an app
that calls many begins runs again and again."""


@dataclass(frozen=True, slots=True)
class _Called:
    """A pipeline that is called; it is held so that its identity stays its own. `plan` is as it was before any call."""

    pipeline: Any
    plan: Plan
    calls: Calls
    run: Run

    @property
    def key(self) -> tuple[int, bool]:
        return id(self.pipeline), self.calls.bulk


class Desk:
    """The calls of one frame.

    Args:
        begin: makes the run of a plan; it is one of the frame's from then on.
        over: called when that run has ended.
        call_queue: most calls that wait, and as many bulk calls besides.
    """

    def __init__(
        self, begin: Callable[[Plan, Calls], Run], over: Callable[[Run], None], call_queue: int = 1_000
    ) -> None:
        self._begin = begin
        self._over = over
        self._most = call_queue
        self._rejected: Counter[str] = Counter()
        self._refused_at: float | None = None
        self._time = asyncio.get_running_loop().time  # that any thread may ask
        self._called: OrderedDict[tuple[int, bool], _Called] = OrderedDict()  # by identity, the least used first
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def call(self, pipeline: Any, record: Any, deadline: float | None = None, *, bulk: bool = False) -> Any:
        """One record through a pipeline; see `PipeFrame.call`."""
        called = self._ready(pipeline, bulk=bulk)
        self._let_in(called.calls, deadline)
        return await called.calls.call(record, deadline)  # in the caller's task; the run is served in its own

    @property
    def waiting(self) -> int:
        """Calls that wait: for their first step, or between stages for a worker. Looks only, so any thread may ask."""
        return sum(called.calls.waiting for called in [*self._called.values()])

    @property
    def running(self) -> int:
        """Calls that have no answer yet, and do not wait."""
        return sum(called.calls.running for called in [*self._called.values()])

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many calls got `Overloaded`, by the pipeline's name."""
        return self._rejected

    @property
    def refusing(self) -> bool:
        """Whether any did within the last second."""
        return self._refused_at is not None and self._time() - self._refused_at < LATELY

    def _let_in(self, calls: Calls, deadline: float | None) -> None:
        """Nothing; or raise where a call would wait for too long, or too many wait."""
        waiting = sum(other.waiting for other in self._ahead_of(calls))
        if deadline is None and waiting < self._most:
            return
        refused = refusal(calls.name, waiting=waiting, most=self._most, wait=self._wait(calls), deadline=deadline)
        if refused is not None:
            calls.refuse()
            raise refused

    def _reject(self, name: str) -> None:
        self._rejected[name] += 1
        self._refused_at = self._time()

    def _ahead_of(self, calls: Calls) -> Iterator[Calls]:
        """Those that go before one of these that comes now: all but bulk calls, or all."""
        return (other.calls for other in self._called.values() if calls.bulk or not other.calls.bulk)

    def _wait(self, calls: Calls) -> float:
        """Seconds that one of these is predicted to wait that comes now; 0 before anything was measured."""
        if (load := calls.load) is None:
            return 0.0
        workforce = load.workforce
        lanes = workforce.remaining() + sum(other.lane_seconds for other in self._ahead_of(calls))
        if workforce.runs_beside():
            lanes /= 1 - KEPT
        idle = not calls.waiting and workforce.idle_workers > 0
        return max(0.0 if idle else lanes / workforce.workers, calls.loop_seconds)

    def close(self) -> None:
        """The frame is closed: no run begins anew."""
        self._closed = True

    def _ready(self, pipeline: Any, *, bulk: bool) -> _Called:
        """The run of a pipeline that takes calls."""
        key = id(pipeline), bulk
        called = self._called.get(key)
        if called is None or called.run.stopping:
            self._close_idle()
            called = self._opened(pipeline, bulk=bulk)
        self._called.move_to_end(key)
        return called

    def _opened(self, pipeline: Any, *, bulk: bool) -> _Called:
        other = self._called.get((id(pipeline), not bulk))
        whole = plan_of(pipeline) if other is None else other.plan  # of one chain workers have one, and its `setup`
        plan = replace(
            whole,
            source="stream",
            timeout=None,
            order=whole.order if callable(whole.order) else "completion",
            max_failures=None,
            sink=None,
            dead_letter=None,
            on_progress=None,
            edges=(),
        )
        calls = Calls(fans_out=plan.fans_out, name=plan.name, bulk=bulk, rejected=self._reject)
        # In a context of its own: it serves many callers, and outlives the one who happened to come first.
        context = Context()
        called = _Called(pipeline, whole, calls, context.run(self._begin, plan, calls))
        self._called[called.key] = called
        task = spawn(self._serve(called), f"pipeframe-{plan.name}-calls", context)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return called

    def _close_idle(self) -> None:
        """One more is to be kept ready than may be: the least used go, unless somebody waits for them."""
        idle = [key for key, called in self._called.items() if called.calls.idle]
        for key in idle[: max(0, len(self._called) + 1 - MOST_OPEN)]:
            self._called.pop(key).run.stop()

    async def _serve(self, called: _Called) -> None:
        error: BaseException | None = None
        try:
            await called.run.execute()  # until the frame or `_close_idle` stops it; calls come in meanwhile
        except Exception as failed:  # whoever waits gets it; if nobody does, the next call finds out for itself
            error = failed
        finally:
            waiting = called.calls.queued() if error is None and not self._closed else []
            called.calls.close(error)
            self._over(called.run)
            if self._called.get(called.key) is called:
                del self._called[called.key]
            if waiting:  # it was stopped before their turn came: the run that begins anew is theirs
                self._ready(called.pipeline, bulk=called.calls.bulk).calls.take_over(waiting)

    async def ended(self) -> None:
        """Wait for the runs, which have been told to end."""
        if self._serving:
            await asyncio.wait(self._serving)  # each forgets itself; none begins any more, for the desk is closed
