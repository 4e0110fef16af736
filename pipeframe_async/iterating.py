"""Results of a run for a plain `for`: the loop is in a thread of its own, and lists of results come over from there.

One list is at hand while the consumer is at the one before it, so that neither waits for the other; no more are taken
from the run, whose backpressure is the consumer's pace.

Threads: the consumer's, which may be any and more than one in turn, and the loop's, which ends when the consumer has
left. Between them are a queue and the loop's `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Generator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from pipeframe_async.errors import StateError
from pipeframe_async.exiting import call_at_exit
from pipeframe_async.frame import PipeFrame
from pipeframe_async.portal import loop_factory
from pipeframe_async.report import RunReport

logger = logging.getLogger("pipeframe_async")

FORKED = "a stream() cannot be gone on with in a fork: its run is in the process that has begun it"
ENDED_EARLY = "the program has ended while a thread was iterating a stream(), so results are missing: join that thread"


def iterated(frame: PipeFrame, pipeline: Any, feed: Any, *, restart: bool) -> Generator[Any, None, RunReport]:
    """The results of a run, which begins with the first `next` and has ended when the generator has.

    Raises:
        StateError: this is a fork of the process that has begun; or the program ends, and another thread iterates.
        PipeFrameError: as `PipeFrame.stream`, after the last result. Where the generator is closed or dropped before
            that, which nobody could catch, it is logged.
    """
    work = _Work(frame, pipeline, feed, restart=restart)
    try:
        while (batch := work.taken()) is not None:
            yield from batch
    except GeneratorExit:
        if (error := work.left()) is not None:
            logger.warning("a stream() was left before its end, and its run had failed by then: %s", error)
        raise
    except BaseException:
        work.left()  # what was thrown in here says more
        raise
    error = work.left()
    if error is not None:
        try:
            raise error
        finally:
            del error  # it knows this frame
    return work.report()


class _Work:
    """A run in a thread of its own."""

    def __init__(self, frame: PipeFrame, pipeline: Any, feed: Any, *, restart: bool) -> None:
        self._frame, self._pipeline, self._feed, self._restart = frame, pipeline, feed, restart
        self._handed: SimpleQueue[list[Any] | None] = SimpleQueue()  # None: there is no more
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._next = asyncio.Event()  # the loop's: the consumer has taken what it was handed
        self._report: RunReport | None = None
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._main, name=f"{frame.name}-stream", daemon=True)
        self._thread.start()
        _open.add(self)

    def taken(self) -> list[Any] | None:
        """The next results; None where the run has ended."""
        if self._process != os.getpid():
            raise StateError(FORKED)
        batch = self._handed.get()  # blocks until the loop hands over a list, or ends
        if batch is not None:
            call_at_exit(_end_all)  # workers are there by now: it comes before they are killed, too
            assert self._loop is not None
            with suppress(RuntimeError):  # it was ended at the program's end, and its loop was closed
                self._loop.call_soon_threadsafe(self._next.set)
        return batch

    def left(self) -> BaseException | None:
        """Have the run end, if it has not, and wait until nothing of it is left; returns what it failed of, once."""
        self.end()
        _open.discard(self)
        error, self._error = self._error, None
        return error

    def report(self) -> RunReport:
        """Of a run that has ended by itself, and well.

        Raises:
            StateError: it was ended by the end of the program, which its consumer's thread has not waited for.
        """
        if self._report is None:
            raise StateError(ENDED_EARLY)
        return self._report

    def end(self) -> None:
        """Have the run end, whatever it has come to, and wait for it."""
        if self._process != os.getpid():
            return  # in a fork there is no thread to end
        self._begun.wait()
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # it has ended, and its loop was closed
                self._loop.call_soon_threadsafe(self._task.cancel)
        if threading.current_thread() is not self._thread:  # where a collector runs there
            self._thread.join()

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                self._report = runner.run(self._serve())
        except asyncio.CancelledError:  # the consumer has left
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._begun.set()
            self._handed.put(None)

    async def _serve(self) -> RunReport:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        async with self._frame.stream(self._pipeline, self._feed, restart=self._restart) as results:
            async for batch in results.batches():
                self._handed.put(batch)
                await self._next.wait()  # set by the consumer's thread; cancelled where it leaves
                self._next.clear()
        return results.report


_open: set[_Work] = set()
"""Those whose generator has not ended."""


def _end_all() -> None:
    """Those that are still open when the program ends, with their generators in somebody's hands, end in good order."""
    for work in [*_open]:
        work.end()
