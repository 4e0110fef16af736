"""One lane of `executor="processes"`: a pool of one worker process at a time, and what becomes of those.

A lane outlives its workers. One that dies is replaced when the next batch comes; one that is worn is replaced
at once, and finishes what it has. Batches go through `loop.run_in_executor`; starting and ending workers, which
blocks, happens in threads: one that starts them and puts dead ones away, and others for teardowns, which may hang.

Process: lives in the parent; what is `async` and its callbacks run on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any

from pipeframe_async._rules.restarts import Restarts
from pipeframe_async._rules.wear import Wear
from pipeframe_async._worker.cursor import Phase
from pipeframe_async.errors import WorkerLost
from pipeframe_async.executors.processes.autopsy import death_of
from pipeframe_async.executors.processes.guard import Guard
from pipeframe_async.executors.processes.remains import Remains
from pipeframe_async.executors.processes.worker import StartFailed, Worker
from pipeframe_async.wire import UNKNOWN_CHAIN, ChainRef, Death, Packed, Reply

logger = logging.getLogger("pipeframe_async")

BATCHES_IN_LANE = 2
"""One being run and one waiting in the pipe. One leaves the worker idle for a hop (8 %), three gain nothing."""
TEARDOWN_TIMEOUT = 10.0
"""Seconds a worn worker has for its teardown. Less cuts off what saves a model, more lets hung ones pile up."""
MOST_GOING = 4
"""Workers of a lane that may be on their way out while the next is started. One would hold up every replacement by
a slow teardown, many would fill the memory with workers that only tear down."""


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
        self._undertaker = ThreadPoolExecutor(MOST_GOING, thread_name_prefix=f"pipeframe-lane-{number}-end")
        self.busy = 0
        self._tickets = count(1)  # batches of many runs come here: each gets a number of its own
        self._restarts = Restarts()
        self._worker: Worker | None = None
        self._candidate: Worker | None = None  # that is being started
        self._guards: dict[Worker, Guard] = {}  # of each worker that lives: the present one, and those that retire
        self._starting: asyncio.Future[None] | None = None
        self._buried: dict[Worker, asyncio.Future[Remains]] = {}  # on their way out, dead or worn
        self._closing = threading.Event()
        self._problems: list[str] = []
        self._last = ""  # why the last worker died that had done nothing

    async def start(self) -> None:
        """Have a worker; callers that come while one is being started wait for the same one."""
        while self._worker is None:
            if len(self._buried) >= MOST_GOING:
                await asyncio.wait([*self._buried.values()], return_when=asyncio.FIRST_COMPLETED)
                continue
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
                self._candidate = Worker(self._method, weigh=self._wear.max_rss is not None)
                self._candidate.start()
            except StartFailed as error:
                self._restarts.in_vain(foreign=error.foreign)
                self._last = str(error)
                continue
            self._worker, self._candidate = self._candidate, None
            self.starts += 1
            return

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Run one batch in the worker."""
        await self.start()
        worker = self._worker
        assert worker is not None
        guard = self._guarded(worker)
        ticket = next(self._tickets)
        worker.given += 1
        if self._wear.full(worker.given):
            self._worker = None
        try:
            reply = await self._asked(worker, chain, ticket, batch, ship)
        except BrokenExecutor as error:
            if self._closing.is_set():
                raise WorkerLost(f"{self.name} was closed while it had work") from error
            remains = await asyncio.shield(self._bury(worker))
            who = f"the worker of {self.name} (pid {worker.pid})"
            limits = {"time_limit": f"the record took longer than time_limit={chain.time_limit} s"}
            limits["max_worker_rss"] = f"{who} was ended: it held more than max_worker_rss={self._wear.max_rss} bytes"
            return death_of(remains, ticket, batch.records, who=who, ended_for=guard.reason, limits=limits)
        except Exception as error:  # the reply did not come through: which record is at fault is found out by halves
            return Death(f"{self.name} has no answer: {type(error).__name__}: {error}", ran=batch.records)
        self._answered(worker, reply)
        return reply

    def _guarded(self, worker: Worker) -> Guard:
        if (guard := self._guards.get(worker)) is None:
            guard = self._guards[worker] = Guard(worker, self._wear.max_rss)
        return guard

    async def _asked(self, worker: Worker, chain: ChainRef, ticket: int, batch: Packed, ship: bool) -> Reply:
        guard, loop = self._guards[worker], asyncio.get_running_loop()
        while True:
            answer: asyncio.Future[Reply | Exception] = loop.create_future()
            told = partial(self._told, worker, guard, ticket, answer)
            guard.watch(ticket, chain.time_limit)
            try:
                worker.ask(chain, ticket, batch, ship, told)
            except BaseException:  # nobody will tell
                guard.done(ticket)
                raise
            try:
                reply = await answer
            except asyncio.CancelledError:
                guard.abandon(ticket)
                raise
            if isinstance(reply, Exception):
                raise reply
            if reply.fault is None or reply.fault.kind != UNKNOWN_CHAIN:
                return reply
            worker.again(chain)

    def _told(
        self,
        worker: Worker,
        guard: Guard,
        ticket: int,
        answer: asyncio.Future[Reply | Exception],
        reply: Reply | Exception,
    ) -> None:
        """A batch has ended, one way or the other; where nobody waits for it any more, that is looked at here."""
        guard.done(ticket)
        if not answer.done():
            answer.set_result(reply)
        elif not isinstance(reply, Exception):
            self._answered(worker, reply)
        elif not self._closing.is_set():
            self._bury(worker).add_done_callback(_looked_at)

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
        self._put_away(self._undertaker, worker, self._end).add_done_callback(lambda ended: watchdog.cancel())

    def _bury(self, worker: Worker) -> asyncio.Future[Remains]:
        """A worker has died: put it away. All its batches learn from the same remains."""
        if self._worker is worker:
            self._worker = None
        return self._buried.get(worker) or self._put_away(self._thread, worker, Worker.end)

    def _put_away(
        self, thread: ThreadPoolExecutor, worker: Worker, end: Callable[[Worker], Remains]
    ) -> asyncio.Future[Remains]:
        worker.hang_up()
        ended = asyncio.get_running_loop().run_in_executor(thread, end, worker)
        self._buried[worker] = ended
        ended.add_done_callback(lambda ended: self._forget(worker, ended))
        return ended

    def _forget(self, worker: Worker, ended: asyncio.Future[Remains]) -> None:
        self._buried.pop(worker, None)
        worker.lost()
        if self._guards.pop(worker, None) is None or ended.cancelled() or ended.exception() is not None:
            return
        remains = ended.result()
        idle = remains.place.phase is Phase.LOADING or not remains.place.batch  # it had not come to any record
        if idle and not worker.answered:
            self._restarts.in_vain(foreign=remains.foreign)
            doing = (
                "in setup, or while it loaded the steps" if remains.place.phase is Phase.LOADING else "before it did"
            )
            self._last = f"the last one (pid {worker.pid}) died {doing}: {remains.ending}\n{remains.stack}".rstrip()

    def kill(self, *, overdue: bool = False) -> None:
        """End all workers without waiting; `overdue`: they were given time to end by themselves."""
        for worker in self._living():
            worker.kill_overdue() if overdue else worker.kill()

    def _living(self) -> list[Worker]:
        known = [self._candidate, self._worker, *self._guards]  # in this order: one may just become the other
        return [*dict.fromkeys(worker for worker in known if worker is not None)]

    def closing(self) -> None:
        """Start no more workers."""
        self._closing.set()

    async def close(self, *, graceful: bool) -> list[str]:
        """End the workers. Returns the traceback of each teardown that raised, in retired workers too."""
        await asyncio.gather(*self._buried.values(), return_exceptions=True)
        for worker in self._living():
            worker.hang_up()
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


def _looked_at(future: asyncio.Future[Any]) -> None:
    """Whoever waited has left: an error of the start is nobody's, and not to be reported as forgotten."""
    if not future.cancelled():
        future.exception()
