"""The blocking front for WSGI apps, threads and scripts: a frame on an event loop in a thread of its own.

Threads: any may call; the frame lives in the portal's own. Nobody may wait here who has an event loop to keep running.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Self, TypeVar

from pipeframe_async.errors import StateError
from pipeframe_async.model import FeedLike
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.report import RunReport
from pipeframe_async.stats import Stats

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")


class Portal:
    """A frame for code that blocks: `with PipeFrame().portal() as portal: portal.call(P, record)`.

    Workers are warm inside the block. Each method blocks its thread until there is an answer; calls of many threads
    share batches. A process that is forked off one with an open portal makes one of its own.

    Args:
        frame: a `PipeFrame` that is not open.
    """

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._opened: Future[None] = Future()
        self._error: BaseException | None = None
        self._process = 0
        self._gate = threading.Lock()  # over the two below: nothing is asked of a loop that will not come to it
        self._closed = False
        self._asked: set[Future[Any]] = set()  # what threads wait for

    def __enter__(self) -> Self:
        """Open the frame.

        Raises:
            StateError: it is open already.
            PipeFrameError: the frame could not be opened.
        """
        if self._thread is not None:
            raise StateError(f"the portal of {self._frame.name} is open already, or was")
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._main, name="pipeframe-portal", daemon=True)
        self._thread.start()
        self._opened.result()  # blocks until the thread has opened the frame, or has failed to
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let what is in flight end, then end the workers and the thread.

        Raises:
            PipeFrameError: as leaving the frame does: a `teardown` raised.
        """
        if self._process != os.getpid() or not self._close():
            return  # in a fork there is no thread to end
        assert self._loop is not None
        assert self._closing is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._closing.set)  # after all that was asked: the frame sees that, and ends it
        self._thread.join()  # the frame's exit is bounded by its `drain_timeout`
        if self._error is not None and error is None:
            raise self._error

    def call(
        self,
        pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
        record: In,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        bulk: bool = False,
    ) -> Out:
        """As `PipeFrame.call`, blocking.

        Args:
            pipeline: a `PipelineEngine` subclass, or an instance of one.
            record: what the first step gets.
            timeout: seconds to wait; None waits for as long as it takes.
            deadline: as `PipeFrame.call`.
            bulk: as `PipeFrame.call`.

        Returns:
            As `PipeFrame.call`.

        Raises:
            TimeoutError: there was no result in time; the record gives up its place.
            StateError: the portal is not open, or was closed meanwhile; or an event loop runs in this thread: there,
                `await frame.call(...)`.
            PipeFrameError: as `PipeFrame.call`.
        """
        called = self._frame.call(pipeline, record, deadline=deadline, bulk=bulk)
        return self._waited(called, timeout)  # type: ignore[no-any-return]

    def run(
        self, pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out], feed: FeedLike[In] | None = None
    ) -> RunReport:
        """As `PipeFrame.run`, blocking; raises as that, and `StateError` as `call`."""
        return self._waited(self._frame.run(pipeline, feed))  # type: ignore[no-any-return]

    def ready(self, *pipelines: Any) -> None:
        """As `PipeFrame.ready`, blocking; raises as that, and `StateError` as `call`."""
        self._waited(self._frame.ready(*pipelines))

    def stop(self, pipeline: Any = None) -> None:
        """As `PipeFrame.stop`."""
        self._frame.stop(pipeline)

    def stats(self) -> Stats:
        """As `PipeFrame.stats`."""
        return self._frame.stats()  # type: ignore[no-any-return]

    def _waited(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        try:
            asked = self._ask(coroutine)
        except StateError:
            coroutine.close()
            raise
        try:
            return asked.result(timeout)
        except CancelledError:  # with its loop: nobody else cancels it
            raise StateError(f"the portal of {self._frame.name} was closed before there was an answer") from None
        except BaseException:  # its own error; or time is over, or Ctrl-C: then nobody waits for it any more
            asked.cancel()
            raise
        finally:
            with self._gate:
                self._asked.discard(asked)

    def _ask(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        self._check()
        with self._gate:
            if self._closed:
                raise StateError(self._not_open("any more"))
            assert self._loop is not None
            asked = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._asked.add(asked)
        return asked

    def _check(self) -> None:
        if self._process not in (0, os.getpid()):  # before the gate: in a fork nobody might open it again
            raise StateError(self._not_open("in this process: it was forked, and needs one of its own"))
        if self._loop is None:
            raise StateError(self._not_open("yet"))
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise StateError(
            f"the portal of {self._frame.name} blocks, and an event loop runs in this thread: await the frame itself"
        )

    def _not_open(self, since: str) -> str:
        return f"the portal of {self._frame.name} is not open {since}: use it inside `with frame.portal() as portal`"

    def _close(self) -> bool:
        """Take no more; whether that is news."""
        with self._gate:
            news, self._closed = not self._closed, True
        return news

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._opened.done():
                self._error = error
            else:
                self._opened.set_exception(error)
        finally:
            self._close()
            for asked in tuple(self._asked):  # by now only what the loop had not come to when it broke
                asked.cancel()

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        async with self._frame:
            self._opened.set_result(None)
            await self._closing.wait()  # set by who leaves the block, in another thread, through this loop
        with self._gate:
            waiting = [asyncio.wrap_future(asked) for asked in self._asked]
        await asyncio.gather(*waiting, return_exceptions=True)  # the frame's end has answered them: they are told here


def loop_factory() -> Any:
    """What makes a loop of our own: uvloop's where it is installed, else None."""
    try:
        import uvloop
    except ImportError:  # not on this platform
        return None
    return uvloop.new_event_loop
