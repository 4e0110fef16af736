"""An executor's lanes, and how many batches each has, of all the runs that share them.

One for each executor, made by the frame that made or was given it; every run's dispatch says what it gives and gets
back. Used on one loop only.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Sequence
from dataclasses import replace

from pipeframe_async._engine.lanes.carry import refused
from pipeframe_async.contracts import Executor, Lane
from pipeframe_async.errors import WorkerLost
from pipeframe_async.stats import WorkerStats
from pipeframe_async.wire import PAUSED, ChainRef, ChainSpec, Death, Packed

NOTHING = pickle.dumps([])


class Workforce:
    """Who works, and who has something to do.

    Args:
        executor: whose lanes they are.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._batches: dict[Lane, int] = dict.fromkeys(executor.lanes, 0)
        self._since: dict[Lane, float] = {}  # when each was given something after a pause

    async def ready(self, chains: Sequence[ChainSpec]) -> None:
        """Start all workers, and have each load these chains and run their `setup`.

        Raises:
            WorkerLost: none could be started.
            StepError: a chain cannot be loaded in a worker, or its `setup` raised.
        """
        refs = [self.executor.load(chain) for chain in chains]
        await asyncio.gather(*(self._readied(lane, refs) for lane in self.executor.lanes))

    async def _readied(self, lane: Lane, refs: Sequence[ChainRef]) -> None:
        await lane.start()
        for ref in refs:
            # A batch of no records, for each worker that it may go to. The lane's others go on meanwhile.
            replies = await asyncio.gather(
                *(lane.run(ref, 0, Packed(0, NOTHING), ship=False) for _ in range(lane.workers))
            )
            for reply in replies:
                if isinstance(reply, Death):
                    raise WorkerLost(f"a worker died as it loaded a pipeline: {reply.cause}")
                if reply.refusal is not None and reply.refusal.kind != PAUSED:  # at work: it is loaded
                    raise refused(reply.refusal)

    def gave(self, lane: Lane) -> None:
        """A lane has one batch more."""
        if not self._batches[lane]:
            self._since[lane] = time.perf_counter()
        self._batches[lane] += 1

    def got_back(self, lane: Lane) -> None:
        """A lane has one batch less."""
        self._batches[lane] -= 1

    def stats(self) -> tuple[WorkerStats, ...]:
        """What each lane is at. Looks only, so any thread may ask."""
        return tuple(map(self._stats, self.executor.lanes))

    def _stats(self, lane: Lane) -> WorkerStats:
        look = getattr(lane, "stats", None)
        stats: WorkerStats = WorkerStats(lane.name, "idle") if look is None else look()
        if not (batches := self._batches[lane]):
            return stats
        state = "busy" if stats.state == "idle" else stats.state
        return replace(stats, state=state, batches=batches, busy_seconds=time.perf_counter() - self._since[lane])

    def busy(self, lane: Lane) -> bool:
        """Whether all its workers have something to do."""
        return self._batches[lane] >= lane.workers
