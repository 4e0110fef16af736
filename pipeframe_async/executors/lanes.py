"""`executor="processes"`: a fleet of lanes, each a pool of one worker process.

One process, one pipe pair, one blast radius: a worker's death touches the batches of its own lane. Batches
go through `loop.run_in_executor`; starting and ending workers, which blocks, happens in one thread.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from pipeframe_async._worker import bootstrap, envelope
from pipeframe_async._worker.cursor import NBYTES, Cursor
from pipeframe_async.errors import StepError, WorkerLost
from pipeframe_async.executors.launch import DEFAULT_METHOD, LaneContext
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.wire import UNKNOWN_CHAIN, ChainRef, ChainSpec, Packed, Reply

T = TypeVar("T")

BATCHES_IN_LANE = 2
"""One being run and one waiting in the pipe. One leaves the worker idle for a hop (8 %), three gain nothing."""


class Worker:
    """One pool with its one process. Made by `start`, used by `submit`, gone after `end` or `kill`.

    Process: lives in the parent. `start` and `end` block and run in the fleet's thread.
    """

    def __init__(self, method: str) -> None:
        fd = _memory()
        self.cursor = Cursor(-1 if fd is None else fd)
        self._context = LaneContext(method)
        self.pool = ProcessPoolExecutor(
            1, self._context, bootstrap.begin, (None if fd is None else bootstrap.SharedMemory(fd),)
        )
        self._chains: set[str] = set()
        try:
            self.pid = self.pool.submit(bootstrap.ready).result()
        except BaseException as error:
            self.end()
            raise WorkerLost(f"a worker process could not be started: {error}; {self.death()}") from error
        finally:
            if fd is not None:
                os.close(fd)

    def call(self, chain: ChainRef, number: int, batch: Packed, ship: bool) -> Callable[[], Reply]:
        """The call that runs a batch in this worker; the chain's bytes go along the first time."""
        data = None if chain.key in self._chains else chain.data
        self._chains.add(chain.key)
        return partial(envelope.work, chain.key, data, number, batch.data, ship)

    def again(self, chain: ChainRef) -> None:
        """The worker has dropped a chain it had: send it again."""
        self._chains.discard(chain.key)

    def kill(self) -> None:
        """End the process now, with all it has started."""
        process = self._context.process
        if process is None or process.pid is None or not process.is_alive():
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)  # the worker leads a session of its own
        except (OSError, AttributeError):
            process.kill()

    def teardown(self) -> list[str]:
        """Run the teardown of every chain in the worker; the traceback of each that raised."""
        return self.pool.submit(envelope.forget).result() if self._chains else []

    def end(self) -> None:
        """Wait for the process to end, and free what the parent holds for it."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.cursor.close()

    def death(self) -> str:
        """How the process ended."""
        code = self._context.process.exitcode if self._context.process is not None else None
        if code is None:
            return "it did not say how it ended"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"it exited with code {code}"


class ProcessLane:
    """A lane of one worker process, replaced when it is lost.

    Args:
        number: the lane's place in the fleet.
        thread: where blocking calls run.
        method: multiprocessing start method.
    """

    workers = 1
    slots = BATCHES_IN_LANE

    def __init__(self, number: int, thread: ThreadPoolExecutor, method: str) -> None:
        self.name = f"lane {number}"
        self.starts = 0
        self._thread = thread
        self._method = method
        self._worker: Worker | None = None
        self._starting: asyncio.Future[None] | None = None
        self.closed = False

    async def start(self) -> None:
        """Have a worker; callers that come while one is being started wait for the same one."""
        if self._worker is not None:
            return
        if self._starting is None or self._starting.done():
            self._starting = asyncio.get_running_loop().run_in_executor(self._thread, self._begin)
            self._starting.add_done_callback(_looked_at)
        await asyncio.shield(self._starting)

    def _begin(self) -> None:
        """Start a worker. Runs in the fleet's one thread, as `close` does, so neither can miss the other."""
        if self.closed:
            raise WorkerLost(f"{self.name} was closed before its worker had started")
        self._worker = Worker(self._method)
        self.starts += 1

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply:
        """Run one batch in the worker."""
        await self.start()
        worker = self._worker
        assert worker is not None
        loop = asyncio.get_running_loop()
        try:
            reply = await loop.run_in_executor(worker.pool, worker.call(chain, number, batch, ship))
            if reply.fault is not None and reply.fault.kind == UNKNOWN_CHAIN:
                worker.again(chain)
                reply = await loop.run_in_executor(worker.pool, worker.call(chain, number, batch, ship))
            return reply
        except BrokenExecutor as error:
            raise await self._lost(worker, number) from error

    async def _lost(self, worker: Worker, number: int) -> WorkerLost:
        """Put the dead worker away; the next start makes another. What it was at tells whom to suspect."""
        batch, index = worker.cursor.read() if self._worker is worker else (number, None)
        if self._worker is worker:
            self._worker = None
            await asyncio.get_running_loop().run_in_executor(self._thread, worker.end)
        place = f"at record {index} of its batch" if batch == number and index is not None else "between records"
        return WorkerLost(f"the worker of {self.name} (pid {worker.pid}) died {place}: {worker.death()}")

    def kill(self) -> None:
        """End the worker without waiting."""
        if self._worker is not None:
            self._worker.kill()

    def close(self, *, graceful: bool) -> list[str]:
        """End the worker; blocks. Returns the traceback of each teardown that raised."""
        if (worker := self._worker) is None:
            return []
        try:
            return worker.teardown() if graceful else []
        except BrokenExecutor:
            return [f"the worker of {self.name} was ended in its teardown, or had died: {worker.death()}"]
        finally:
            worker.end()  # until here `kill` reaches it, for a teardown that hangs
            self._worker = None


class ProcessLanes:
    """The default executor.

    Args:
        workers: how many lanes.
        method: multiprocessing start method; never `"fork"`, which copies locks that other threads hold.
    """

    where = "worker"

    def __init__(self, workers: int, method: str = DEFAULT_METHOD) -> None:
        self.codec = Packing()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pipeframe-lanes")
        self.lanes = tuple(ProcessLane(i, self._thread, method) for i in range(workers))

    @property
    def restarts(self) -> int:
        """Workers started in place of lost ones."""
        return sum(max(0, lane.starts - 1) for lane in self.lanes)

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain; each worker gets it with its first batch."""
        return ship_chain(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End all workers; what does not end within `timeout` seconds is killed."""
        loop = asyncio.get_running_loop()
        for lane in self.lanes:
            lane.closed = True
        if kill:
            self._kill()
        watchdog = loop.call_later(timeout, self._kill)
        try:
            problems = await _undisturbed(loop.run_in_executor(self._thread, self._close, not kill))
        finally:
            watchdog.cancel()
            self._thread.shutdown(wait=False)
        if problems:
            raise StepError(f"teardown raised in a worker:\n{problems[0]}")

    def _kill(self) -> None:
        for lane in self.lanes:
            lane.kill()

    def _close(self, graceful: bool) -> list[str]:
        return [text for lane in self.lanes for text in lane.close(graceful=graceful)]


def _looked_at(future: asyncio.Future[None]) -> None:
    """Whoever waited has left: an error of the start is nobody's, and not to be reported as forgotten."""
    if not future.cancelled():
        future.exception()


async def _undisturbed(future: asyncio.Future[T]) -> T:
    """Wait for something bounded to its end even when cancelled, and pass the cancel on afterwards."""
    cancelled: asyncio.CancelledError | None = None
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


def _memory() -> int | None:
    """A file descriptor of memory for a cursor that both sides map; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    fd = os.memfd_create("pipeframe-cursor")
    os.truncate(fd, NBYTES)
    return fd
