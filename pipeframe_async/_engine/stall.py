"""The stall detector: turns a wait that nobody could end into an error that shows the state.

A run that waits for its feed, a lane, a hook or its consumer is not stalled, however long that takes. One that
waits for none of them, and where nothing moves between two looks, has lost a wake-up: a bug, and never the user's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pipeframe_async.errors import InternalError

STALL_SECONDS = 10.0
"""Seconds between two looks. Shorter mistakes a machine that hangs for a bug, longer keeps the user waiting."""


class Watched(NamedTuple):
    """What is asked of a run.

    `waits_for`: whom it waits for outside of itself, or `""`. `moved`: changes whenever anything has moved. `state`:
    in words, for the error.
    """

    waits_for: Callable[[], str]
    moved: Callable[[], object]
    state: Callable[[], str]


class StallDetector:
    """One timer, armed by what moves; it stands still while the run has nothing to do or waits for others.

    Attributes:
        found: done, with the error, when a stall was found.
    """

    def __init__(self) -> None:
        self._watched: Watched | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen: object = None
        self.found: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, watched: Watched) -> None:
        """Look after this run from now on."""
        self._watched = watched
        self.touch()

    def touch(self) -> None:
        """Something has moved: look again in a while."""
        if self._timer is None and self._watched is not None and not self.found.done():
            self._seen = self._watched.moved()
            self._timer = asyncio.get_running_loop().call_later(STALL_SECONDS, self._look)

    def end(self) -> None:
        """The run is over."""
        if self._timer is not None:
            self._timer.cancel()
        self.found.cancel()

    def _look(self) -> None:
        self._timer = None
        assert self._watched is not None
        if (now := self._watched.moved()) != self._seen:
            self.touch()
        elif not self._watched.waits_for():
            self.found.set_exception(
                InternalError(
                    f"nothing has moved for {STALL_SECONDS:g} s and nothing could: a wake-up was lost. This is a bug "
                    f"of pipeframe_async: please report it with what follows\n{now}\n{self._watched.state()}"
                )
            )


def describe(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """The tasks that have not ended, each with the awaits it stands in, outermost first."""
    pending = sorted((task for task in tasks if not task.done()), key=lambda task: task.get_name())
    if not pending:
        return "no task is pending"
    return "\n".join([f"{len(pending)} pending:", *(_describe(task) for task in pending)])


def all_stacks() -> str:
    """Where every thread of this process stands, one line each."""
    frames = sys._current_frames()
    return "\n".join(
        f"  thread {ident}: {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        for ident, frame in frames.items()
    )


def _describe(task: asyncio.Task[Any]) -> str:
    lines = [f"  {task.get_name()}"]
    awaited: object = task.get_coro()
    while (frame := _first(awaited, "cr_frame", "gi_frame", "ag_frame")) is not None:
        lines.append(f"    {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")
    if awaited is not None:
        lines.append(f"    waiting for {type(awaited).__name__}")
    return "\n".join(lines)


def _first(subject: object, *names: str) -> Any:
    """The first of these attributes that is there: coroutines and generators name the same things apart."""
    return next((found for name in names if (found := getattr(subject, name, None)) is not None), None)
