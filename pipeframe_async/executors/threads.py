"""`executor="threads"`: steps run in threads of this process. For steps that wait or release the GIL.

Steps are used as they are, not copied; records and results are pickled as everywhere.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeframe_async.executors.inline import InProcessChains
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shared import SharedLane
from pipeframe_async.wire import ChainRef, ChainSpec


class ThreadsExecutor:
    """A thread pool of our own as one lane."""

    where = "thread"
    restarts = 0

    def __init__(self, workers: int) -> None:
        self.codec = Packing()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="pipeframe-step")
        self.lanes = (SharedLane(self._pool, workers),)
        self._chains = InProcessChains()

    def load(self, chain: ChainSpec) -> ChainRef:
        """Install the chain in this process."""
        return self._chains.load(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End the threads, which are idle unless `kill` (and then end by themselves: a thread cannot be killed)."""
        self._pool.shutdown(wait=not kill, cancel_futures=True)
        self._chains.close()
