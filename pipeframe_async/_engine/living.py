"""An object of the user's with a life, at one end of a run: opened before its first record, closed after its last.

Comes in: what `_rules/edges.py` has found. Opened and closed in the run's own task, or in a thread where it is `def`;
a life is closed once, whatever way the run has ended, and hears of the error that has ended it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Protocol

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async._rules.edges import Edge, Life
from pipeframe_async.errors import DrainTimeout, FeedError, PipeFrameError, SinkError, StateError, text_of

logger = logging.getLogger("pipeframe_async")

_in_use: dict[int, Edge] = {}  # in this process, by the object's identity; it is held so that this stays its own


class Conclude(Protocol):
    """Answers what has waited for the end."""

    def __call__(self, timeout: float, *, kept: bool) -> Awaitable[None]:
        """Within so many seconds; `kept`: what came of it is there."""


class Living:
    """One of them.

    Args:
        edge: what it is.
        thread: where its `def` functions are called; one of its own where none is given.
    """

    def __init__(self, edge: Edge, thread: DaemonThread | None = None) -> None:
        self._edge = edge
        self._thread = thread or DaemonThread(f"pipeframe-{edge.role}_0")  # begins with the first call
        self._shared_thread = thread is not None
        self._opening_in_thread = False  # that was cancelled, and the thread closes it
        self._open = False  # of one that is opened in a thread, which alone says so

    @property
    def feeds(self) -> bool:
        """It is the feed."""
        return self._edge.role == "feed"

    def claim(self) -> None:
        """It is this run's from now on.

        Raises:
            StateError: another one has it.
        """
        if self._edge.shared:
            return
        if (other := _in_use.get(id(self._edge.value))) is not None:
            raise StateError(
                f"{self._edge} is in use already, as the {other.role} of {other.owner}: make another one, or wait for "
                "that run; one that may be used by several at once says so with `shared = True`"
            )
        _in_use[id(self._edge.value)] = self._edge

    def release(self) -> None:
        """It is nobody's."""
        if _in_use.get(id(self._edge.value)) is self._edge:
            del _in_use[id(self._edge.value)]

    async def enter(self) -> None:
        """Open it.

        Raises:
            FeedError, SinkError: it could not be; that error is the cause.
        """
        if hasattr(self._edge.value, "pipeline_name"):
            self._edge.value.pipeline_name = self._edge.owner
        try:
            await self._call("enter")
        except BaseException as error:
            if not self._opening_in_thread:
                self._over()
            if not isinstance(error, Exception):
                raise
            raise self._said("could not be opened", error) from error

    async def leave(self, error: BaseException | None, timeout: float) -> None:
        """Close it, for so many seconds.

        Raises:
            FeedError, SinkError, DrainTimeout: it could not be; that error is the cause.
        """
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                await self._call("exit", None if error is None else type(error), error, error and error.__traceback__)
        except Exception as problem:
            if problem is error:
                return
            if isinstance(problem, TimeoutError) and limit.expired():
                raise DrainTimeout(f"{self._edge} did not close within {timeout:g} s and was left behind") from problem
            raise self._said("could not be closed", problem) from problem
        finally:
            self._over()

    async def _call(self, verb: str, *arguments: Any) -> None:
        value = self._edge.value
        if self._edge.life is Life.ASYNC:
            called: Awaitable[Any] = getattr(type(value), f"__a{verb}__")(value, *arguments)
            await called  # the user's
            return
        call = partial(self._in_thread, verb, copy_context(), *arguments)
        try:
            # The call is the thread's, also after a cancel here.
            await asyncio.get_running_loop().run_in_executor(self._thread.surely, call)
        except asyncio.CancelledError as error:
            if verb == "enter":
                self._opening_in_thread = True
                self._thread.submit(self._close_behind, error)
            raise

    def _in_thread(self, verb: str, context: Context, *arguments: Any) -> None:
        value = self._edge.value
        function: Callable[..., Any] = getattr(type(value), f"__{verb}__")
        context.run(function, value, *arguments)
        self._open = verb == "enter"

    def _close_behind(self, error: BaseException) -> None:
        """Nobody waits for it any more: in its thread, behind the call that was opening it."""
        try:
            if self._open:
                self._in_thread("exit", copy_context(), type(error), error, error.__traceback__)
        except BaseException as problem:
            logger.error("%s", self._said("could not be closed", problem), exc_info=problem)
        finally:
            self._over()

    def _over(self) -> None:
        """It is neither open nor being opened."""
        self.release()
        if not self._shared_thread:
            self._thread.shutdown()

    def _said(self, what: str, error: BaseException) -> PipeFrameError:
        kind = FeedError if self._edge.role == "feed" else SinkError
        return kind(f"{self._edge} {what}: {type(error).__name__}: {text_of(error)}")


class Lives:
    """Those of one run: opened from left to right, closed from right to left.

    Args:
        living: from the feed to the sink.
        timeout: seconds that each has to close.
        conclude: answers what waits for the sink to be closed, while the feed is open.
    """

    def __init__(self, living: Sequence[Living], timeout: float, conclude: Conclude | None = None) -> None:
        self._living = living
        self._timeout = timeout
        self._conclude = conclude
        self._entered: list[Living] = []

    async def enter(self) -> None:
        """Open them.

        Raises:
            StateError: one is in use; none has been opened then.
            FeedError, SinkError: one could not be opened; those before it are closed by `leave`.
        """
        claimed: list[Living] = []
        try:
            for one in self._living:
                one.claim()
                claimed.append(one)
        except StateError:
            for one in claimed:
                one.release()
            raise
        for at, one in enumerate(self._living):
            try:
                await one.enter()  # a cancel is passed on; what was opened before is closed by `leave`
            except BaseException:
                for unopened in self._living[at + 1 :]:
                    unopened.release()
                raise
            self._entered.append(one)

    async def leave(self, error: BaseException | None) -> BaseException | None:
        """Close those that were opened, each once; returns what has ended the run, which may be what one raised."""
        while self._entered:
            one = self._entered.pop()
            if one.feeds and self._conclude is not None:
                error = await first_error(self._conclude(self._timeout, kept=error is None), error)
            error = await first_error(one.leave(error, self._timeout), error)  # nothing is at work any more
        return error


async def first_error(closing: Awaitable[object], error: BaseException | None) -> BaseException | None:
    """What has ended the run: what it was, or what closing raises."""
    try:
        await closing
    except BaseException as problem:  # a cancel too: the others are closed all the same
        if _outranks(problem, error):
            return problem
        logger.error("%s", problem, exc_info=problem)
    return error


def _outranks(problem: BaseException, error: BaseException | None) -> bool:
    """Whether what closing has raised is what has ended the run, rather than the error that was there."""
    if isinstance(error, asyncio.CancelledError):
        # One that a task group or a timeout of the object's has asked for, and taken back as it said why.
        task = asyncio.current_task()
        return isinstance(problem, Exception) and task is not None and not task.cancelling()
    return error is None or isinstance(problem, asyncio.CancelledError)
