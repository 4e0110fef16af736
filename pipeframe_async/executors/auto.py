"""`executor="auto"`: worker processes, and threads of this process for chains that are not worth the way there.

Which of them runs a batch is the engine's to say; here they are, and all are ended.
"""

from __future__ import annotations

import asyncio

from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async.contracts import Codec, Executor, Lane
from pipeframe_async.executors.inline import CopiedChains
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.executors.returned import Returned
from pipeframe_async.executors.threads import ThreadsExecutor
from pipeframe_async.gil import gil_enabled
from pipeframe_async.wire import ChainRef, ChainSpec


class AutoExecutor:
    """Process lanes with one thread beside the loop, to which records are handed over as they are.

    Args:
        workers: how many processes.
        wear: when the processes are replaced; where they are to be, nothing runs beside them: a thread cannot be.
        gil: whether threads of this process share one. Then one is all there is; else there are as many as workers,
            each with its own copy of a chain, as each of those has: what threads have in common makes them slow.

    Attributes:
        beside: the first of the threads.
        threads: all of them, one for each lane; none where there is a GIL.
    """

    where = "worker"

    def __init__(self, workers: int, wear: Wear = NO_WEAR, *, gil: bool | None = None) -> None:
        returned = Returned()
        self._processes = ProcessLanes(workers, wear=wear, returned=returned)
        self.codec: Codec = self._processes.codec
        self.lanes: tuple[Lane, ...] = self._processes.lanes
        self.beside: Executor | None = None
        self.threads: tuple[Executor, ...] = ()
        if wear == NO_WEAR:
            shared = gil_enabled() if gil is None else gil
            threads = tuple(ThreadsExecutor(1, chains=CopiedChains(returned)) for _ in range(1 if shared else workers))
            self.beside, self.threads = threads[0], () if shared else threads

    @property
    def restarts(self) -> int:
        """Processes started in place of others."""
        return self._processes.restarts

    @property
    def logs_dropped(self) -> int:
        """Log lines of steps in processes that were not handled, because there was no room for them."""
        return self._processes.logs_dropped

    async def logs_handled(self) -> None:
        """Wait until the log lines that have come are handled; within a bound."""
        await self._processes.logs_handled()

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain, for the processes."""
        return self._processes.load(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End the processes and the threads, each with its `teardown`; one that raises does not keep the others."""
        places = dict.fromkeys(place for place in (self._processes, self.beside, *self.threads) if place is not None)
        # Each is bounded by `timeout`. A cancel reaches all: processes end all the same, a thread is left behind.
        ends = await asyncio.gather(
            *(place.close(kill=kill, timeout=timeout) for place in places), return_exceptions=True
        )
        for end in ends:
            if isinstance(end, BaseException):
                raise end
