"""`executor="processes"`: a fleet of lanes, each with a worker process of its own.

One process, one pipe pair, one blast radius: a worker's death touches the batches of its own lane.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
import weakref
from contextlib import suppress
from functools import partial
from typing import TypeVar

from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async._worker.surroundings import open_standard_streams
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import StepError
from pipeframe_async.executors.cores import usable_cores
from pipeframe_async.executors.handling import Handling
from pipeframe_async.executors.hosts import make_room
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.processes.lane import Hired, ProcessLane
from pipeframe_async.executors.processes.launch import DEFAULT_METHOD
from pipeframe_async.executors.processes.worker import Worker
from pipeframe_async.executors.returned import Returned
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.wire import ChainRef, ChainSpec

T = TypeVar("T")

DROPPED_SECONDS = 0.5
"""Seconds that the workers of a dropped frame are waited for. They take milliseconds; longer would hold up whoever
happens to collect it, with whatever lock it has."""


class ProcessLanes:
    """The default executor.

    Args:
        workers: how many lanes.
        method: multiprocessing start method; never `"fork"`, which copies locks that other threads hold.
        wear: when workers are replaced.
    """

    where = "worker"
    beside: Executor | None = None

    def __init__(
        self,
        workers: int,
        method: str = DEFAULT_METHOD,
        wear: Wear = NO_WEAR,
        returned: Returned | None = None,
    ) -> None:
        self.codec = Packing(out_of_band=True)
        open_standard_streams()  # before anything is opened that would take their place
        make_room(workers)
        inner_threads = max(1, usable_cores() // max(1, workers))
        self._logs = Handling()
        new_worker = partial(
            Worker, method, weigh=wear.max_rss is not None, inner_threads=inner_threads, logs=self._logs
        )
        self._returned = returned or Returned()
        self.lanes = tuple(
            ProcessLane(i, wear, partial(new_worker, name=f"lane {i}"), self._returned) for i in range(workers)
        )
        self._forgotten = weakref.finalize(self, _dropped, [lane.hired for lane in self.lanes], self._logs)
        self._forgotten.atexit = False  # then workers are ended without a word, as those of any open frame

    @property
    def restarts(self) -> int:
        """Workers started in place of others, lost or worn."""
        return sum(max(0, lane.starts - 1) for lane in self.lanes)

    @property
    def logs_dropped(self) -> int:
        """Log lines of steps that were not handled, because there was no room for them."""
        return self._logs.dropped

    async def logs_handled(self) -> None:
        """Wait until the log lines that have come are handled; within a bound."""
        await self._logs.handled()

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain; each worker gets it with its first batch."""
        shipped = ship_chain(chain)
        return shipped._replace(teardowns=self._returned.of(shipped.key))

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End all workers; what does not end within `timeout` seconds is killed.

        Cancellation: it goes on to its end, which `timeout` bounds; what it frees nobody else would.
        """
        self._forgotten.detach()
        for lane in self.lanes:
            lane.closing()
        if kill:
            self._kill()
        # The lanes wait in threads for their workers: nothing on the loop can make those return but a worker's end.
        watchdog = asyncio.get_running_loop().call_later(timeout, self._kill, True)
        closing = asyncio.gather(*(lane.close(graceful=not kill) for lane in self.lanes))
        try:
            problems = [text for texts in await _undisturbed(closing) for text in texts]
        finally:
            watchdog.cancel()
            await self._logs.close()
        if problems:
            raise StepError(f"teardown raised in a worker:\n{problems[0]}")

    def _kill(self, overdue: bool = False) -> None:
        for lane in self.lanes:
            lane.kill(overdue=overdue)


def _dropped(lanes: list[list[Hired]], logs: Handling) -> None:
    """The fleet is gone and was not closed: end its workers, in a thread, for this may be called anywhere."""
    logs.end()
    left = [hired.worker for lane in lanes for hired in [*lane]]
    if not left:
        return
    text = (
        f"a PipeFrame was dropped while it was open: its {len(left)} workers are killed; use `async with PipeFrame()`"
    )
    warnings.warn(text, ResourceWarning, stacklevel=2)
    for worker in left:
        with suppress(RuntimeError):  # its loop is closed
            worker.hang_up()
        worker.kill()
    ending = threading.Thread(target=lambda: [worker.end() for worker in left], name="pipeframe-dropped", daemon=True)
    ending.start()
    ending.join(DROPPED_SECONDS)


async def _undisturbed(future: asyncio.Future[T]) -> T:
    """Wait for something bounded to its end even when cancelled, and pass the cancel on afterwards."""
    cancelled: asyncio.CancelledError | None = None  # the last, where there were several
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: S110 - it is the future's own, and raised by result() below
            pass
    if cancelled is not None:
        raise cancelled
    return future.result()
