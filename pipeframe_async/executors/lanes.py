"""`executor="processes"`: a fleet of lanes, each a pool of one worker process.

One process, one pipe pair, one blast radius: a worker's death touches the batches of its own lane. Batches
go through `loop.run_in_executor`; starting and ending workers, which blocks, happens in a thread a lane.

A lane outlives its workers. One that dies is replaced when the next batch comes; one that is worn is replaced
at once, and finishes what it has.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from pipeframe_async._worker.cursor import Phase
from pipeframe_async.errors import StepError, WorkerLost
from pipeframe_async.executors.guard import Guard
from pipeframe_async.executors.launch import DEFAULT_METHOD
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.restarts import Restarts
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.executors.worker import Remains, StartFailed, Worker, last_words
from pipeframe_async.wire import UNKNOWN_CHAIN, ChainRef, ChainSpec, Death, Packed, Reply

logger = logging.getLogger("pipeframe_async")

T = TypeVar("T")

BATCHES_IN_LANE = 2
"""One being run and one waiting in the pipe. One leaves the worker idle for a hop (8 %), three gain nothing."""


@dataclass(frozen=True, slots=True)
class Wear:
    """When a worker is replaced by a new one: after so many batches, or over so many resident bytes."""

    max_batches: int | None = None
    max_rss: int | None = None

    def full(self, batches: int) -> bool:
        """Whether a worker that was given so many batches gets no more."""
        return self.max_batches is not None and batches >= self.max_batches

    def worn(self, reply: Reply) -> bool:
        """Whether a worker that has answered this should answer no more."""
        if self.max_rss is not None and reply.rss > self.max_rss:
            return True
        return any(failure.error_type == "MemoryError" for failure in reply.failures)  # its heap may be in pieces


NO_WEAR = Wear()

TEARDOWN_TIMEOUT = 10.0
"""Seconds a worn worker has for its teardown. Less cuts off what saves a model, more lets hung ones pile up."""


class ProcessLane:
    """A lane of one worker process at a time.

    Args:
        number: the lane's place in the fleet.
        method: multiprocessing start method.
        wear: when its worker is replaced.
    """

    workers = 1
    slots = BATCHES_IN_LANE

    def __init__(self, number: int, method: str, wear: Wear) -> None:
        self.name = f"lane {number}"
        self.starts = 0
        self._method = method
        self._wear = wear
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"pipeframe-lane-{number}")
        self._undertaker = ThreadPoolExecutor(1, thread_name_prefix=f"pipeframe-lane-{number}-end")
        self._tickets = count(1)  # batches of many runs come here: each gets a number of its own
        self._restarts = Restarts()
        self._worker: Worker | None = None
        self._guards: dict[Worker, Guard] = {}  # of each worker that lives: the present one, and those that retire
        self._starting: asyncio.Future[None] | None = None
        self._buried: dict[Worker, asyncio.Future[Remains]] = {}
        self._closing = threading.Event()
        self._problems: list[str] = []
        self._last = ""  # why the last worker died that had done nothing

    async def start(self) -> None:
        """Have a worker; callers that come while one is being started wait for the same one."""
        while self._worker is None:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.get_running_loop().run_in_executor(self._thread, self._begin)
                self._starting.add_done_callback(_looked_at)
            await asyncio.shield(self._starting)

    def _begin(self) -> None:
        """Start a worker, in the lane's thread, as `close` runs: neither can miss the other."""
        while True:
            if self._restarts.hopeless:
                raise WorkerLost(f"{self.name} gives up: its workers die before they have done anything; {self._last}")
            if self._closing.wait(self._restarts.delay):
                raise WorkerLost(f"{self.name} was closed before its worker had started")
            try:
                self._worker = Worker(self._method)
            except StartFailed as error:
                self._restarts.in_vain(foreign=error.foreign)
                self._last = str(error)
                continue
            self.starts += 1
            return

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Run one batch in the worker."""
        await self.start()
        worker = self._worker
        assert worker is not None
        guard = self._guarded(worker)
        ticket = next(self._tickets)
        guard.watch(ticket, chain.time_limit)
        worker.given += 1
        if self._wear.full(worker.given):
            self._worker = None
        try:
            reply = await self._asked(worker, chain, ticket, batch, ship)
        except BrokenExecutor as error:
            if self._closing.is_set():
                raise WorkerLost(f"{self.name} was closed while it had work") from error
            remains = await asyncio.shield(self._bury(worker))
            return self._death(worker, guard, remains, ticket, batch, chain)
        except Exception as error:  # the reply did not come through: which record is at fault is found out by halves
            return Death(f"{self.name} has no answer: {type(error).__name__}: {error}", ran=batch.records)
        self._answered(worker, reply)
        return reply

    def _guarded(self, worker: Worker) -> Guard:
        if (guard := self._guards.get(worker)) is None:
            guard = self._guards[worker] = Guard(worker, self._wear.max_rss)
        return guard

    async def _asked(self, worker: Worker, chain: ChainRef, ticket: int, batch: Packed, ship: bool) -> Reply:
        loop = asyncio.get_running_loop()
        guard = self._guards[worker]
        while True:
            asked = worker.submit(loop, worker.call(chain, ticket, batch, ship))
            try:
                reply = await asyncio.shield(asked)
            except asyncio.CancelledError as error:
                if asked.cancelled() and not _cancelling():  # by `_forget`: the pool never answered for its worker
                    guard.done(ticket)
                    raise BrokenExecutor from error
                guard.abandon(ticket)
                asked.add_done_callback(lambda done: self._left(worker, ticket, done))
                raise
            except BaseException:
                guard.done(ticket)
                raise
            if reply.fault is None or reply.fault.kind != UNKNOWN_CHAIN:
                guard.done(ticket)
                return reply
            worker.again(chain)

    def _left(self, worker: Worker, ticket: int, done: asyncio.Future[Reply]) -> None:
        """A batch nobody waited for has ended, one way or the other."""
        if (guard := self._guards.get(worker)) is not None:
            guard.done(ticket)
        if done.cancelled() or done.exception() is not None:
            if not self._closing.is_set():
                self._bury(worker).add_done_callback(_looked_at)
        else:
            self._answered(worker, done.result())

    def _answered(self, worker: Worker, reply: Reply) -> None:
        """A worker is alive and well; or has done enough."""
        self._restarts.worked()
        worker.answered += 1
        if worker is self._worker and self._wear.worn(reply):
            self._worker = None
        if worker is not self._worker and not self._guards[worker].busy:
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        """A worn worker has finished what it had: end it, while the next one works."""
        if self._closing.is_set() or worker not in self._guards or worker in self._buried:
            return
        watchdog = asyncio.get_running_loop().call_later(TEARDOWN_TIMEOUT, worker.kill_overdue)
        self._put_away(worker, self._end).add_done_callback(lambda ended: watchdog.cancel())

    def _bury(self, worker: Worker) -> asyncio.Future[Remains]:
        """A worker has died: put it away. All its batches learn from the same remains."""
        if self._worker is worker:
            self._worker = None
        return self._buried.get(worker) or self._put_away(worker, Worker.end)

    def _put_away(self, worker: Worker, end: Callable[[Worker], Remains]) -> asyncio.Future[Remains]:
        """End a worker in a thread other than the one that starts the next."""
        ended = asyncio.get_running_loop().run_in_executor(self._undertaker, end, worker)
        self._buried[worker] = ended
        ended.add_done_callback(lambda ended: self._forget(worker, ended))
        return ended

    def _forget(self, worker: Worker, ended: asyncio.Future[Remains]) -> None:
        self._buried.pop(worker, None)
        for asked in worker.asked:
            asked.cancel()
        if self._guards.pop(worker, None) is None or ended.cancelled() or ended.exception() is not None:
            return
        remains = ended.result()
        if not worker.answered and remains.place.at is None:
            self._restarts.in_vain(foreign=remains.foreign)
            doing = (
                "in setup, or while it loaded the steps" if remains.place.phase is Phase.LOADING else "before it did"
            )
            self._last = f"the last one (pid {worker.pid}) died {doing}: {remains.ending}\n{remains.stack}".rstrip()

    def _death(
        self, worker: Worker, guard: Guard, remains: Remains, ticket: int, batch: Packed, chain: ChainRef
    ) -> Death:
        """What a worker's remains say of one of its batches."""
        cause = f"the worker of {self.name} (pid {worker.pid}) died: {remains.ending}"
        place = remains.place
        if place.batch != ticket or place.phase is Phase.LOADING:
            return Death(cause, begun=False)
        if place.at is None:
            ran = 0 if place.phase is Phase.READING else batch.records
            late = guard.reason == "time_limit" and place.phase is not Phase.IDLE
            return Death(
                cause,
                whole=place.phase is not Phase.IDLE,
                ran=ran,
                foreign=remains.foreign and not late,
                stack=remains.stack,
                kind="timeout" if late else "crashed",
            )
        words = last_words(remains, ticket)
        done = words.done if words is not None else None
        death = Death(
            cause,
            at=place.at,
            step=place.step,
            ran=0 if done is not None else place.at,
            foreign=remains.foreign,
            stack=words.stack if words is not None else remains.stack,
            done=done,
        )
        if guard.reason == "time_limit" and remains.sought:
            cause = f"the record took longer than time_limit={chain.time_limit:g} s"
            return death._replace(cause=cause, kind="timeout", foreign=False)
        if guard.reason == "max_worker_rss":
            cause = f"{cause} for it held more than max_worker_rss={self._wear.max_rss:,} bytes"
            return death._replace(cause=cause, foreign=False)
        return death

    def kill(self, *, overdue: bool = False) -> None:
        """End all workers without waiting; `overdue`: they were given time to end by themselves."""
        for worker in self._living():
            worker.kill_overdue() if overdue else worker.kill()

    def _living(self) -> list[Worker]:
        return [*dict.fromkeys([*([self._worker] if self._worker is not None else []), *self._guards])]

    def closing(self) -> None:
        """Start no more workers."""
        self._closing.set()

    async def close(self, *, graceful: bool) -> list[str]:
        """End the workers. Returns the traceback of each teardown that raised, in retired workers too."""
        await asyncio.gather(*self._buried.values(), return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close, graceful)
        self._thread.shutdown(wait=False)
        self._undertaker.shutdown(wait=False)
        return self._problems

    def _close(self, graceful: bool) -> None:
        for worker in self._living():
            if worker.remains is None:
                self._end(worker, graceful)
        self._worker = None

    def _end(self, worker: Worker, graceful: bool = True) -> Remains:
        """End a worker in good order. Blocks; until it returns `kill` reaches it, for a teardown that hangs."""
        interrupted = False
        try:
            self._problems += worker.teardown() if graceful and worker.alive else []
        except BrokenExecutor:
            interrupted = True
        remains = worker.end()
        if interrupted:
            self._interrupted(worker, remains)
        return remains

    def _interrupted(self, worker: Worker, remains: Remains) -> None:
        """A worker did not get through its teardown: ended by it, by our patience, or by somebody else."""
        text = f"the worker of {self.name} (pid {worker.pid}) was ended in its teardown: {remains.ending}"
        guard = self._guards.get(worker)
        abandoned = guard is not None and guard.reason  # it still had a batch that nobody waits for
        if worker.overdue or not (remains.foreign or abandoned):
            self._problems.append(text)
        else:
            logger.warning(text)


class ProcessLanes:
    """The default executor.

    Args:
        workers: how many lanes.
        method: multiprocessing start method; never `"fork"`, which copies locks that other threads hold.
        wear: when workers are replaced.
    """

    where = "worker"

    def __init__(self, workers: int, method: str = DEFAULT_METHOD, wear: Wear = NO_WEAR) -> None:
        self.codec = Packing()
        self.lanes = tuple(ProcessLane(i, method, wear) for i in range(workers))

    @property
    def restarts(self) -> int:
        """Workers started in place of others, lost or worn."""
        return sum(max(0, lane.starts - 1) for lane in self.lanes)

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain; each worker gets it with its first batch."""
        return ship_chain(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End all workers; what does not end within `timeout` seconds is killed."""
        for lane in self.lanes:
            lane.closing()
        if kill:
            self._kill()
        watchdog = asyncio.get_running_loop().call_later(timeout, self._kill, True)
        closing = asyncio.gather(*(lane.close(graceful=not kill) for lane in self.lanes))
        try:
            problems = [text for texts in await _undisturbed(closing) for text in texts]
        finally:
            watchdog.cancel()
        if problems:
            raise StepError(f"teardown raised in a worker:\n{problems[0]}")

    def _kill(self, overdue: bool = False) -> None:
        for lane in self.lanes:
            lane.kill(overdue=overdue)


def _looked_at(future: asyncio.Future[Any]) -> None:
    """Whoever waited has left: an error of the start is nobody's, and not to be reported as forgotten."""
    if not future.cancelled():
        future.exception()


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


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
