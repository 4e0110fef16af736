"""Any `concurrent.futures.Executor` as one lane: somebody else's pool, threads, loky.

The envelope is the same as everywhere, so a record's failure is its own. A worker that dies is the
executor's affair: most break as a whole, which is reported as WorkerLost.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import BrokenExecutor
from concurrent.futures import Executor as AnyExecutor

from pipeframe_async._worker import envelope
from pipeframe_async.errors import StateError, WorkerLost
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.wire import ChainRef, ChainSpec, Packed, Reply


class SharedLane:
    """A whole executor as one lane that runs several batches at once.

    Args:
        executor: where batches are submitted.
        workers: how many it runs at the same time; twice as many are submitted, so none waits for the loop.
    """

    def __init__(self, executor: AnyExecutor, workers: int) -> None:
        self.name = f"{type(executor).__module__}.{type(executor).__qualname__}"
        self.workers = workers
        self.slots = 2 * workers
        self._executor = executor

    async def start(self) -> None:
        """Nothing to start: it is somebody else's, and starts when it is used."""

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply:
        """Submit the batch and wait for its reply."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._executor, envelope.work, chain.key, chain.data, number, batch.data, ship
            )
        except BrokenExecutor as error:
            raise WorkerLost(f"{self.name} broke while it had batch {number}: {error}") from error
        except RuntimeError as error:
            raise StateError(f"{self.name} does not take work: {error}") from error


class SharedExecutor:
    """A foreign executor. It is never shut down here: who made it closes it."""

    where = "executor"
    restarts = 0

    def __init__(self, executor: AnyExecutor, workers: int) -> None:
        self.codec = Packing()
        self.lanes = (SharedLane(executor, workers),)

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain: this executor's workers may be other processes."""
        return ship_chain(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """Nothing: the executor belongs to somebody else."""
