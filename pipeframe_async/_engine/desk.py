"""Where calls come in: each pipeline that is called has a run of its own, which begins with the first call.

Tasks: one per pipeline, which executes its run and tells those who still wait when it ends.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any

from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.run import Run
from pipeframe_async._engine.supervise import spawn
from pipeframe_async.plan import Plan, plan_of

MOST_OPEN = 16
"""Pipelines that are kept ready when nobody calls them. More keep what their `setup` has opened; with fewer, an app
that calls many begins runs again and again."""


@dataclass(frozen=True, slots=True)
class _Called:
    """A pipeline that is called; it is held so that its identity stays its own."""

    pipeline: Any
    calls: Calls
    run: Run


class Desk:
    """The calls of one frame.

    Args:
        begin: makes the run of a plan; it is one of the frame's from then on.
        over: called when that run has ended.
    """

    def __init__(self, begin: Callable[[Plan, Calls], Run], over: Callable[[Run], None]) -> None:
        self._begin = begin
        self._over = over
        self._called: OrderedDict[int, _Called] = OrderedDict()  # by identity, the least used first
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def call(self, pipeline: Any, record: Any) -> Any:
        """One record through a pipeline; see `PipeFrame.call`."""
        return await self._ready(pipeline).calls.call(record)  # in the caller's task; the run is served in its own

    def close(self) -> None:
        """The frame is closed: no run begins anew."""
        self._closed = True

    def _ready(self, pipeline: Any) -> _Called:
        """The run of a pipeline that takes calls."""
        called = self._called.get(id(pipeline))
        if called is None or called.run.stopping:
            self._close_idle()
            called = self._opened(pipeline)
        self._called.move_to_end(id(pipeline))
        return called

    def _opened(self, pipeline: Any) -> _Called:
        plan = plan_of(pipeline)
        plan = replace(
            plan,
            source="stream",
            timeout=None,
            order=plan.order if callable(plan.order) else "completion",
            max_failures=None,
            sink=None,
            dead_letter=None,
            on_progress=None,
            edges=(),
        )
        calls = Calls(fans_out=plan.fans_out)
        # In a context of its own: it serves many callers, and outlives the one who happened to come first.
        context = Context()
        called = self._called[id(pipeline)] = _Called(pipeline, calls, context.run(self._begin, plan, calls))
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
            if self._called.get(id(called.pipeline)) is called:
                del self._called[id(called.pipeline)]
            if waiting:  # it was stopped before their turn came: the run that begins anew is theirs
                self._ready(called.pipeline).calls.take_over(waiting)

    async def ended(self) -> None:
        """Wait for the runs, which have been told to end."""
        if self._serving:
            await asyncio.wait(self._serving)  # each forgets itself; none begins any more, for the desk is closed
