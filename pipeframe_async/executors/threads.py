"""`executor="threads"`: steps run in threads of this process. For steps that wait or release the GIL.

Steps are used as they are, not copied, and so are records and results: a step gets the very object that was fed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor, thread
from contextlib import suppress
from functools import partial

from pipeframe_async.contracts import Executor
from pipeframe_async.executors.inline import InProcessChains
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shared import Pool, SharedLane
from pipeframe_async.wire import ChainRef, ChainSpec

logger = logging.getLogger("pipeframe_async")


class ThreadsExecutor:
    """A thread pool of our own, with a lane for each thread.

    Args:
        workers: how many threads.
        chains: makes chains ready; by default they are used as they are.
    """

    where = "thread"
    beside: Executor | None = None
    restarts = 0

    def __init__(self, workers: int, *, chains: InProcessChains | None = None) -> None:
        self.codec = Packing(live=True)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="pipeframe-step")
        pool = Pool(self._pool, partial(int, workers), live=True, alone=workers == 1)
        self.lanes = tuple(SharedLane(pool, number) for number in range(workers))
        self._chains = chains or InProcessChains()

    def load(self, chain: ChainSpec) -> ChainRef:
        """Install the chain in this process."""
        return self._chains.load(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End the threads; one whose step does not end within `timeout` seconds is left behind: it cannot be killed."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:  # in a thread of its own: it blocks until the last step has ended, which may be never
            self._pool.shutdown(wait=True, cancel_futures=True)
            with suppress(RuntimeError):  # the loop has not waited for us
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=end, name="pipeframe-step-end", daemon=True).start()
        try:
            async with asyncio.timeout(0 if kill else timeout):
                await ended.wait()  # set by that thread; a daemon, so that one left behind keeps no interpreter
        except TimeoutError:
            _let_go(self._pool)
            if not kill:
                logger.warning("a step in a thread has not ended within %g s and was left behind", timeout)
        finally:
            self._chains.close()


def _let_go(pool: ThreadPoolExecutor) -> None:
    """Have the interpreter not wait at its exit for threads whose step hangs: it would join those of every pool."""
    for stays in pool._threads:
        thread._threads_queues.pop(stays, None)  # type: ignore[attr-defined]
