"""How far a job has come, saved while it runs: what is final, and where its feed, sink and dead letter are with that.

A state is taken only between two turns of delivery, when the consumer has been given what is final and nothing else; so
a record is in it only after the sink, or the dead letter, has it. It is saved in a thread, by one transaction.
Task: one per run of a job. What cannot be saved ends the run.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async._rules.resume import behind, check, summed
from pipeframe_async.checkpoint import Checkpoint, JobState, Mark
from pipeframe_async.errors import SinkError, text_of
from pipeframe_async.state_file import StateFile


class Job:
    """A job's state file, open.

    Args:
        file: it.
        thread: where it is called.
        every: seconds between two states.
        state: as this life begins.
    """

    def __init__(self, file: StateFile, thread: DaemonThread, every: float, state: JobState) -> None:
        self._file = file
        self._thread = thread
        self.every = every
        self.state = state

    async def save(self, state: JobState) -> None:
        """Replace what is in it.

        Raises:
            SinkError: that cannot be done; that error is the cause.

        Cancellation: it is saved all the same.
        """
        try:
            # The call is the thread's, also after a cancel here; those that come later are behind it.
            await asyncio.get_running_loop().run_in_executor(self._thread.surely, self._file.save, state)
        except TypeError as error:
            raise SinkError(f"a position of feed, sink or dead letter is no JSON value: {text_of(error)}") from error
        except Exception as error:
            raise _out_of_reach(self._file.path, error) from error


@asynccontextmanager
async def opened_job(
    checkpoint: Checkpoint, wanted: Mapping[str, Any], given: object, *, restart: bool
) -> AsyncIterator[Job]:
    """A job's state, this run's until the block is left.

    Args:
        checkpoint: where it is kept.
        wanted: the fingerprint of the job that is to be run.
        given: what that one is fed with.
        restart: it begins anew.

    Raises:
        CheckpointMismatch: it is another job's, or damaged.
        StateError: another run or process has it.
        SinkError: it cannot be read or written; that error is the cause.
    """
    path = os.fspath(checkpoint.path)
    thread = DaemonThread("pipeframe-checkpoint_0")
    opening = thread.submit(StateFile, path, restart=restart)
    try:
        try:
            file = await asyncio.wrap_future(opening)  # after a cancel the thread opens it, and closes it behind that
        except OSError as error:
            raise _out_of_reach(path, error) from error
        before = file.state or JobState(wanted)
        check(before, wanted, given, path)
        yield Job(file, thread, checkpoint.every, replace(before, lives=before.lives + (not before.finished)))
    finally:
        closing = thread.submit(_close, opening)
        thread.shutdown()
        await _done(asyncio.wrap_future(closing))


async def _done(future: asyncio.Future[None]) -> None:
    """Wait for it, through a cancel too, which is passed on then: another life may begin when this one is over."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _close(opening: Future[StateFile]) -> None:
    """What was opened, if it was; in its thread."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _out_of_reach(path: str, error: Exception) -> SinkError:
    return SinkError(f"the state of the job, {path}, is out of reach: {type(error).__name__}: {text_of(error)}")


class Position(NamedTuple):
    """How an object at the end of a run says where it is, and is set back; both are called as its `write` is."""

    ask: Callable[[], Awaitable[Any]]
    restore: Callable[[Any], Awaitable[Any]]


class Checkpointer:
    """Saves the state of one run of a job.

    Args:
        job: its file.
        finals: what is final.
        ledger: what became of it.
        marks: where the feed was; those that are not needed any more are taken from its front.
        sink, dead_letter: of those that can be set back.
    """

    def __init__(
        self,
        job: Job,
        finals: Finals,
        ledger: Ledger,
        marks: deque[Mark],
        *,
        sink: Position | None = None,
        dead_letter: Position | None = None,
    ) -> None:
        self._job = job
        self._finals = finals
        self._ledger = ledger
        self._marks = marks
        self._sink = sink
        self._dead_letter = dead_letter
        self._turn = asyncio.Lock()  # of delivery, or of one who looks
        self._torn = False  # a consumer was given something, and did not come back
        self._waits = False  # a state is due, and waits until nothing is there in part
        self._state = job.state

    @property
    def finished(self) -> bool:
        """Nothing is left of the job."""
        return self._state.finished

    @property
    def skipped(self) -> int:
        """Records that earlier lives were done with."""
        return self._job.state.done.records

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Of delivery: what is handed on in it is final when it is over."""
        async with self._turn:  # a look takes as long as the sink takes to say where it is
            self._torn = True
            yield
            self._torn = False
        if self._waits and self._finals.whole:
            await asyncio.sleep(0)  # the next thing that is handed on may be there in part again: `run` looks before

    async def restore(self) -> None:
        """Set sink and dead letter back to where they were with what is done.

        That is saved at once: a life that is ended before its first state has put something behind it, too.

        Raises:
            CheckpointMismatch: that cannot be done.
            SinkError: one of them raised, or it cannot be saved.
        """
        for position, end in ((self._state.dead_letter, self._dead_letter), (self._state.sink, self._sink)):
            if end is not None:
                await end.restore(position)
        await self.save()

    async def run(self) -> None:
        """Save a state whenever something has become final, and some time has passed since the last one; for ever."""
        while True:
            while self._finals.done == self._state.done:
                await self._finals.bell.wait()  # rung by what becomes final, on this loop
            await asyncio.sleep(self._job.every)
            while not await self.save():
                self._waits = True
                await self._finals.bell.wait()
                self._waits = False

    async def save(self) -> bool:
        """Save how far it has come, where that can be known; returns whether it can."""
        async with self._turn:  # nothing is handed on meanwhile; it is as it was when this began
            if self._torn or not self._finals.whole:
                return False
            sink, dead_letter = [None if end is None else await end.ask() for end in (self._sink, self._dead_letter)]
            if not self._finals.whole:  # of a stream, somebody may have left
                return False
            self._state = replace(
                self._state,
                done=(done := self._finals.done),
                totals=summed(self._job.state.totals, self._ledger.total),
                feed=behind(self._marks, done),
                sink=sink,
                dead_letter=dead_letter,
            )
        await self._job.save(self._state)
        return True

    async def finish(self) -> None:
        """All of the job is done, and its sink was closed."""
        if self._finals.whole and not self.finished:
            self._state = replace(self._state, finished=True)
            await self._job.save(self._state)
