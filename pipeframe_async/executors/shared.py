"""Any `concurrent.futures.Executor` as one lane: somebody else's pool, threads, loky.

The envelope is the same as everywhere, so what a record raises is its own affair. A worker that dies is not
ours to replace: the batch is given back as dead, to be tried in halves, for as long as the executor takes work.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from concurrent.futures import Executor as AnyExecutor
from contextlib import suppress
from functools import partial

from pipeframe_async._worker import envelope
from pipeframe_async._worker.channel import heavy
from pipeframe_async._worker.whereabouts import placed, whereabouts_of
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import StateError, WorkerLost
from pipeframe_async.executors.inline import warn_of_time_limit
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.stats import WorkerStats
from pipeframe_async.wire import WANTED, ChainRef, ChainSpec, Death, Packed, Reply

MOST_IN_VAIN = 30
"""Batches that may die before the first reply. A batch with a deadly record at its front takes about 15 to halve."""


class SharedLane:
    """A whole executor as one lane that runs several batches at once.

    Args:
        executor: where batches are submitted.
        workers: how many it runs at the same time; twice as many are submitted, so none waits for the loop.
        live: results are wanted as they are.
        here: it is one thread of this process: what a batch has begun is there when it goes on, in the same thread.
        threads: its workers are threads of this process: what steps log there is told where it comes from.
    """

    def __init__(
        self,
        executor: AnyExecutor,
        workers: int,
        *,
        live: bool = False,
        here: bool = False,
        threads: bool = False,
    ) -> None:
        self.name = f"{type(executor).__module__}.{type(executor).__qualname__}"
        self.workers = workers
        self.slots = 2 * workers
        self._executor = executor
        self._work = partial(envelope.work, live=True) if live else envelope.work
        self._here = here
        self._threads = threads
        self._in_vain = 0
        self._answered = 0

    def stats(self) -> WorkerStats:
        """What it is at, where that can be seen: of threads the records of their batches. Any thread may ask."""
        threads = [*self._executor._threads] if isinstance(self._executor, ThreadPoolExecutor) else []
        frames = sys._current_frames() if threads else {}
        at = [whereabouts_of(frames.get(each.ident or 0)) for each in threads]
        return WorkerStats(self.name, "idle", at=(self._answered, sum(here.at or 0 for here in at if here is not None)))

    async def start(self) -> None:
        """Nothing to start: it is somebody else's, and starts when it is used."""

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Submit the batch and wait for its reply; once more where it names what that worker does not have."""
        while True:
            reply = await self._asked(chain, number, batch, ship)
            if isinstance(reply, Death) or reply.refusal is None or reply.refusal.kind != WANTED or chain.more is None:
                return reply
            chain.more.ask(reply.refusal.message)

    async def _asked(self, chain: ChainRef, number: int, batch: Packed, ship: bool) -> Reply | Death:
        """Submit it and wait."""
        portions = batch.portions if self._here else None
        work = partial(self._work, portions=portions, traced=batch.traced)
        if self._threads:
            work = partial(placed, batch.positions, "", work)
        try:
            data = batch.data if self._here else heavy(batch.data)
            asked = self._executor.submit(work, chain.label, chain.parcel(), number, data, ship, batch.span)
        except BrokenExecutor as error:
            raise WorkerLost(f"{self.name} is broken and takes no more work: {_text(error)}") from error
        except Exception as error:
            raise StateError(f"{self.name} does not take work: {_text(error)}") from error
        answer = asyncio.wrap_future(asked)
        try:
            # Set by a thread of the executor, by way of the loop. Shielded, so that a cancel of ours can be told from
            # one by the executor, which may cancel what it has not begun when it is shut down.
            reply = await asyncio.shield(answer)
        except asyncio.CancelledError as error:
            if not answer.cancelled():
                asked.add_done_callback(partial(self._left, batch.resumes))
                answer.cancel()  # taken back where it has not begun; else it runs to its end, and nobody waits for it
                raise
            raise WorkerLost(f"{self.name} cancelled batch {number}: was it shut down?") from error
        except Exception as error:
            return self._died(number, batch, error)
        self._in_vain = -1
        self._answered += 1
        return reply

    def drop(self, token: int) -> None:
        """Have its generators closed, by a thread as it ran them."""
        with suppress(RuntimeError):  # it takes no work any more
            self._executor.submit(envelope.drop, token)

    def _left(self, resumed: int, asked: Future[Reply]) -> None:
        """A batch that nobody waits for has come to its end, or would go on; or it has not begun to."""
        token = resumed if asked.cancelled() else 0 if asked.exception() is not None else asked.result().suspended
        if token:
            self.drop(token)

    def _died(self, number: int, batch: Packed, error: Exception) -> Death:
        """Our function never raises, so the executor has lost it, and does not say which record it was at."""
        cause = f"{self.name} lost the batch it was in: {_text(error)}"
        if self._in_vain >= 0:
            self._in_vain += 1
        if self._in_vain > MOST_IN_VAIN:
            raise WorkerLost(
                f"{self.name} has lost {self._in_vain} batches and answered none: {_text(error)}"
            ) from error
        return Death(cause, ran=batch.records, foreign=True)  # it does not say what it died of


class SharedExecutor:
    """A foreign executor. It is never shut down here: who made it closes it."""

    where = "executor"
    beside: Executor | None = None
    restarts = 0

    def __init__(self, executor: AnyExecutor, workers: int) -> None:
        self.codec = Packing()
        self.lanes = (SharedLane(executor, workers),)

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain: this executor's workers may be other processes."""
        warn_of_time_limit(chain, f"by {self.lanes[0].name}")
        return ship_chain(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """Nothing: the executor belongs to somebody else."""


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
