"""One lane of `executor="processes"`: a pool of one worker process at a time, and what becomes of those.

A lane outlives its workers. One that dies is replaced when the next batch comes; one that is worn is replaced
at once, and finishes what it has. Batches go over the worker's channel, from the loop and back to it; starting and
ending workers, which blocks, happens in threads: one that starts them and puts dead ones away, and others for
teardowns, which may hang.

Process: lives in the parent; what is `async` and its callbacks run on the loop, what says so in a thread of the lane.
A worker's life is turned by the loop, but that the lane's thread turns it at its start, and all that are left once the
lane is closing. No two turn the same life: the loop leaves a worker alone that starts, and all when it closes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from pipeframe_async._rules.overtime import EndedFor
from pipeframe_async._rules.restarts import Restarts
from pipeframe_async._rules.wear import Wear
from pipeframe_async._rules.worker_life import State, WorkerLife
from pipeframe_async._worker.cursor import CEDING
from pipeframe_async.errors import ConfigError, WorkerLost
from pipeframe_async.executors.processes.autopsy import cause_of, death_of
from pipeframe_async.executors.processes.guard import Guard
from pipeframe_async.executors.processes.remains import Remains
from pipeframe_async.executors.processes.worker import StartFailed, Worker
from pipeframe_async.executors.returned import Returned
from pipeframe_async.stats import WorkerStats
from pipeframe_async.wire import GONE, UNKNOWN_CHAIN, WANTED, ChainRef, Death, Packed, Phase, Refusal, Reply

logger = logging.getLogger("pipeframe_async")

SEEN_SECONDS = 0.002
"""After which a worker has seen what was written to its cursor, if it looks. A store is there in nanoseconds."""
BATCHES_IN_LANE = 2
"""One being run and one waiting in the socket. With one the worker is idle for a hop after each batch, 0.1 ms by
`docs/decisions/0013-channel.md`; a third is cut before it need be, and lost with the worker, for nothing."""
TEARDOWN_TIMEOUT = 10.0
"""Seconds a worn worker has for its teardown. Less cuts off what saves a model, more lets hung ones pile up."""
MOST_GOING = 4
"""Workers of a lane that may be on their way out while the next is started. One would hold up every replacement by
a slow teardown, many would fill the memory with workers that only tear down."""
STARTS_AT_ONCE = 4
"""Workers that this process has started and that are not yet at work, at most. One that starts has half as many
descriptors again as one that works: with more a large fleet meets a limit that it would keep. Fewer start it slowly."""
_starts = threading.BoundedSemaphore(STARTS_AT_ONCE)


@dataclass(eq=False, slots=True)
class Hired:
    """A worker in a lane's service, from before its process is started until nothing of it is left.

    Attributes:
        worker: the process, and the talk with it.
        guard: ends it where it takes too long, and knows why it was ended.
        life: where it is between its start and its end.
        ended: what it left, once it is being put away.
        worn: it is replaced because it has done enough.
        chains: by ticket, the key of the chain of each batch that it has not answered.
        suspended: batches that are to go on in it, when what came of them so far was taken.
        ceded: tickets of batches that were asked to cede records.
    """

    worker: Worker
    guard: Guard
    life: WorkerLife = field(default_factory=WorkerLife)
    ended: asyncio.Future[Remains] | None = None
    worn: bool = False
    chains: dict[int, str] = field(default_factory=dict)
    suspended: set[int] = field(default_factory=set)
    ceded: set[int] = field(default_factory=set)

    @property
    def busy(self) -> bool:
        """Whether it has batches, or will be given the rest of one."""
        return self.guard.busy or bool(self.suspended)


@dataclass(slots=True)
class _Loads:
    """Of a chain that workers have died of as they loaded it: how often in a row, and how the last one did."""

    restarts: Restarts = field(default_factory=Restarts)
    last: str = ""


class ProcessLane:
    """A lane of one worker process at a time.

    Args:
        number: the lane's place in the fleet.
        wear: when its worker is replaced.
        new_worker: makes one that has not started; called in the lane's thread.
        returned: takes what teardowns return.
    """

    workers = 1
    slots = BATCHES_IN_LANE

    def __init__(
        self, number: int, wear: Wear, new_worker: Callable[[], Worker], returned: Returned | None = None
    ) -> None:
        self.name = f"lane {number}"
        self.starts = 0
        self._wear = wear
        self._new_worker = new_worker
        self._thread = ThreadPoolExecutor(1, f"pipeframe-lane-{number}", _hold_back_sigpipe)
        self._undertaker = ThreadPoolExecutor(MOST_GOING, f"pipeframe-lane-{number}-end", _hold_back_sigpipe)
        self._tickets = count(1)  # batches of many runs come here: each gets a number of its own
        self._restarts = Restarts()
        self._loads: dict[str, _Loads] = {}  # by the chain's key; touched by the loop only
        # All workers there are, whatever they are at. The lane's thread adds to it while the loop reads it: whoever
        # goes through it goes through a copy, made at one instant. Public for the end of a fleet that was dropped.
        self.hired: list[Hired] = []
        self._starting: asyncio.Future[None] | None = None
        self._closing = threading.Event()
        self._replaced: Counter[str] = Counter()  # workers that are no more, by cause
        self._under_way: dict[int, tuple[Hired, int]] = {}  # who has a batch, and its ticket; by its identity
        self._problems: list[str] = []
        self._returned = returned or Returned()
        self._last = ""  # why the last worker died that had done nothing

    @property
    def _serving(self) -> Hired | None:
        """The one that gets the next batch; at most one does, since another is only started where none does."""
        return next((hired for hired in [*self.hired] if hired.life.state is State.SERVING), None)

    @property
    def _worker(self) -> Worker | None:
        """Its worker; benchmarks count by it."""
        return hired.worker if (hired := self._serving) is not None else None

    def stats(self) -> WorkerStats:
        """What its worker is at. Looks only, so any thread may ask."""
        restarts = dict(self._replaced)
        if (hired := self._serving) is not None:
            return WorkerStats(self.name, "idle", hired.worker.pid, restarts=restarts, at=hired.worker.at)
        if self._closing.is_set() or self._starting is None or self._starting.done():
            return WorkerStats(self.name, "stopped", restarts=restarts)
        return WorkerStats(self.name, "restarting" if self.starts else "starting", restarts=restarts)

    async def start(self) -> None:
        """Have a worker; callers that come while one is being started wait for the same one."""
        while self._serving is None:  # asked again after each wait: one that has come may have died, or be worn
            if self._closing.is_set():
                raise WorkerLost(f"{self.name} was closed before its worker had started")
            going = self._going()
            if len(going) >= MOST_GOING:
                await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)  # the lane may be closed meanwhile
                continue
            loop = asyncio.get_running_loop()
            if self._starting is None or self._starting.done():
                self._starting = loop.run_in_executor(self._thread, self._begin, loop)
                self._starting.add_done_callback(_looked_at)
            # Shielded: a caller that is cancelled leaves the start to the others; `close` ends what comes of it.
            await asyncio.shield(self._starting)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a worker, in the lane's thread, as `_close` runs: neither can miss the other."""
        while True:
            if self._restarts.hopeless(time.monotonic()):
                raise WorkerLost(f"{self.name} gives up: its workers die before they have done anything; {self._last}")
            if self._closing.wait(self._restarts.delay):  # blocks this thread only, until `closing` wakes it
                raise WorkerLost(f"{self.name} was closed before its worker had started")
            try:
                self._hire(loop)
            except StartFailed as error:
                self._restarts.in_vain(time.monotonic(), foreign=error.foreign)
                self._last = str(error)
                continue
            self.starts += 1
            return

    def _hire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start one process, in the lane's thread; known before it runs, so that `kill` always reaches it."""
        while not _starts.acquire(timeout=0.05):
            if self._closing.is_set():
                raise WorkerLost(f"{self.name} was closed before its worker had started")
        try:
            worker = self._new_worker()
            hired = Hired(worker, Guard(worker, self._wear.max_rss, loop))
            self.hired.append(hired)
            try:
                worker.start()
            except (StartFailed, ConfigError):  # it has put itself away; after anything else `_close` does
                self._leave(hired)
                raise
        finally:
            _starts.release()
        hired.life.serve()  # from here on the loop may give it batches

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Run one batch in the worker."""
        if not batch.resumes:
            await self._may_load(chain)
            await self.start()  # all may have changed: other batches, other workers, a lane that closes
        if self._closing.is_set():
            raise WorkerLost(f"{self.name} was closed before it was given a batch")
        hired = self._holder(batch.resumes) if batch.resumes else self._serving
        if hired is None:  # not the one that serves: the loop has not been left since `start` has seen that
            return Reply(0, refusal=Refusal(GONE, f"the worker of {self.name} that had it is gone"))
        ticket = next(self._tickets)
        hired.chains[ticket] = chain.key
        hired.suspended.discard(batch.resumes)
        if not batch.resumes and self._wear.full(hired.worker.gets()):
            hired.life.retire()
        self._under_way[id(batch)] = hired, ticket
        try:
            # Across this wait the worker may die, be worn or ended, and the lane be closed; it comes back when this
            # batch was answered or lost. Two batches at a time are here, of the same worker or of two.
            reply = await self._asked(hired, chain, ticket, batch, ship)
        except BrokenExecutor as error:
            if self._closing.is_set():
                raise WorkerLost(f"{self.name} was closed while it had work") from error
            # Shielded: all batches of the worker wait for the same burial, and it goes on when one is cancelled.
            remains = await asyncio.shield(self._bury(hired))
            return self._death(hired, remains, chain, ticket, batch)
        except MemoryError as error:  # which record it is of is found out by halves; the worker is well
            cause = f"this process had no memory for what {self.name} has sent back: {type(error).__name__}: {error}"
            return Death(cause, kind="unpicklable", ran=batch.records)
        except Exception as error:  # the reply did not come through: the same
            return Death(f"{self.name} has no answer: {type(error).__name__}: {error}", ran=batch.records)
        finally:
            self._under_way.pop(id(batch), None)
            hired.ceded.discard(ticket)
        self._answered(hired, reply)
        self._loads.pop(chain.key, None)
        return reply

    def waits_behind(self, batch: Packed) -> Hashable:
        """The record that its worker is at, where the batch has some that it has not claimed."""
        if (found := self._under_way.get(id(batch))) is None:
            return None
        hired, ticket = found
        if not self._can_cede(hired, ticket) or _unclaimed(hired, ticket, batch) is None:
            return None
        spot = hired.worker.cursor.read()
        return spot.batch, spot.at

    @staticmethod
    def _can_cede(hired: Hired, ticket: int) -> bool:
        """Whether it was not asked yet, and has its cell for itself."""
        return not any((ticket - other) % CEDING == 0 for other in hired.ceded)

    async def cede(self, batch: Packed) -> int | None:
        """Say so in the cursor, and see a moment later whether the worker was faster."""
        if (found := self._under_way.get(id(batch))) is None:
            return None
        hired, ticket = found
        index = _unclaimed(hired, ticket, batch)
        if index is None or not self._can_cede(hired, ticket):
            return None
        hired.ceded.add(ticket)
        hired.worker.cursor.cede(ticket, index)
        await asyncio.sleep(SEEN_SECONDS)  # the batch may be answered meanwhile, and its worker be gone
        if id(batch) not in self._under_way or _unclaimed(hired, ticket, batch) != index:
            return None
        return index

    def _holder(self, token: int) -> Hired | None:
        """Who has a batch that goes on; it may have been replaced since, and waits for that."""
        return next((hired for hired in [*self.hired] if hired.ended is None and token in hired.suspended), None)

    def drop(self, token: int) -> None:
        """Let its worker close the generators."""
        if self._closing.is_set() or (hired := self._holder(token)) is None:
            return
        hired.suspended.discard(token)
        hired.worker.drop(token)
        self._may_retire(hired)

    async def _may_load(self, chain: ChainRef) -> None:
        """Wait before a worker gets a chain that the last ones have died of as they loaded it.

        Raises:
            WorkerLost: so many have that it makes no sense now. Other chains are served.
        """
        if (loads := self._loads.get(chain.key)) is None:
            return
        if loads.restarts.hopeless(time.monotonic()):
            raise WorkerLost(f"{self.name} gives up this pipeline: its workers die before any record; {loads.last}")
        await asyncio.sleep(loads.restarts.delay)  # others may load it meanwhile; who comes first tries first

    def _death(self, hired: Hired, remains: Remains, chain: ChainRef, ticket: int, batch: Packed) -> Death:
        who = f"the worker of {self.name} (pid {hired.worker.pid})"
        limits = {
            EndedFor.TIME_LIMIT: f"the record took longer than time_limit={chain.time_limit} s",
            EndedFor.MEMORY: f"{who} was ended: it held more than max_worker_rss={self._wear.max_rss} bytes",
        }
        return death_of(remains, ticket, batch.records, who=who, ended_for=hired.guard.why, limits=limits)

    async def _asked(self, hired: Hired, chain: ChainRef, ticket: int, batch: Packed, ship: bool) -> Reply:
        guard, loop = hired.guard, asyncio.get_running_loop()
        while True:
            answer: asyncio.Future[Reply | Exception] = loop.create_future()
            guard.watch(ticket, chain.time_limit)
            try:
                hired.worker.ask(chain, ticket, batch, ship, partial(self._told, hired, ticket, answer))
            except BaseException:  # nobody will tell
                guard.done(ticket)
                raise
            try:
                reply = await answer  # `_told` sets it, always: by the reply, or when the worker is gone
            except asyncio.CancelledError:
                guard.abandon(ticket)  # the worker goes on with it; `_told` looks at how that ends
                if answer.done() and isinstance(told := answer.result(), Reply):
                    self.drop(told.suspended)
                raise
            if isinstance(reply, Exception):
                raise reply
            if reply.refusal is None or reply.refusal.kind not in (UNKNOWN_CHAIN, WANTED):
                return reply
            if reply.refusal.kind == UNKNOWN_CHAIN:
                hired.worker.again(chain)
            elif chain.more is not None and not chain.more.ask(reply.refusal.message):
                return reply

    def _told(
        self, hired: Hired, ticket: int, answer: asyncio.Future[Reply | Exception], reply: Reply | Exception
    ) -> None:
        """A batch has ended, one way or the other; where nobody waits for it any more, that is looked at here."""
        hired.guard.done(ticket)
        if not isinstance(reply, Exception):
            hired.chains.pop(ticket, None)
            if reply.suspended:
                hired.suspended.add(reply.suspended)
        if not answer.done():
            answer.set_result(reply)
        elif not isinstance(reply, Exception):
            self._answered(hired, reply)
            self.drop(reply.suspended)
        elif not self._closing.is_set():
            self._bury(hired).add_done_callback(_looked_at)

    def _answered(self, hired: Hired, reply: Reply) -> None:
        """A worker is alive and well; or has done enough."""
        self._restarts.worked()
        hired.worker.has_answered()
        if self._closing.is_set():
            return  # its life is the lane's thread's to turn
        if hired.life.state is State.SERVING and self._wear.worn(reply):
            hired.life.retire()
        self._may_retire(hired)

    def _may_retire(self, hired: Hired) -> None:
        if hired.life.state is State.RETIRING and not hired.busy:
            self._retire(hired)

    def _retire(self, hired: Hired) -> None:
        """A worn worker has finished what it had: end it, while the next one works."""
        hired.worn = True
        watchdog = asyncio.get_running_loop().call_later(TEARDOWN_TIMEOUT, hired.guard.end, EndedFor.OVERDUE)
        self._put_away(self._undertaker, hired, self._end).add_done_callback(lambda ended: watchdog.cancel())

    def _bury(self, hired: Hired) -> asyncio.Future[Remains]:
        """A worker has died: put it away. All its batches learn from the same remains, also those that come late."""
        return hired.ended or self._put_away(self._thread, hired, lambda hired: hired.worker.end())

    def _put_away(
        self, thread: ThreadPoolExecutor, hired: Hired, end: Callable[[Hired], Remains]
    ) -> asyncio.Future[Remains]:
        """Have a thread end it; `_forget` is called on the loop when that is done, whoever waits for it or not."""
        hired.life.end()
        hired.worker.hang_up()
        hired.ended = asyncio.get_running_loop().run_in_executor(thread, end, hired)
        hired.ended.add_done_callback(partial(self._forget, hired))
        return hired.ended

    def _forget(self, hired: Hired, ended: asyncio.Future[Remains]) -> None:
        self._leave(hired)
        hired.worker.lost()
        if ended.cancelled() or ended.exception() is not None:
            return
        self._replaced[cause_of(ended.result(), hired.guard.why, worn=hired.worn)] += 1
        remains, who = ended.result(), f"the last one (pid {hired.worker.pid})"
        how = f"{remains.ending}\n{remains.stack}".rstrip()
        idle = remains.spot.phase is Phase.LOADING
        foreign = remains.foreign or hired.guard.why is not None  # somebody's deed, and not of what it was at
        if idle and (key := hired.chains.get(remains.spot.batch)) is not None:
            loads = self._loads.setdefault(key, _Loads())
            loads.restarts.in_vain(time.monotonic(), foreign=foreign)
            loads.last = f"{who} died in setup, or while it loaded the steps: {how}"
        elif (idle or not remains.spot.batch) and not hired.worker.answered:  # it had not come to anything
            self._restarts.in_vain(time.monotonic(), foreign=foreign)
            self._last = f"{who} died before it did: {how}"

    def _going(self) -> list[asyncio.Future[Remains]]:
        """The ends of those that are being put away."""
        return [hired.ended for hired in [*self.hired] if hired.ended is not None]

    def _leave(self, hired: Hired) -> None:
        hired.life.leave()
        self.hired.remove(hired)

    def kill(self, *, overdue: bool = False) -> None:
        """End all workers without waiting; `overdue`: they were given time to end by themselves.

        May be called while workers are started and ended in threads: until one is gone it is reached here.
        """
        for hired in [*self.hired]:
            hired.guard.end(EndedFor.OVERDUE) if overdue else hired.worker.kill()

    def closing(self) -> None:
        """Start no more workers."""
        self._closing.set()

    async def close(self, *, graceful: bool) -> list[str]:
        """End the workers. Returns the traceback of each teardown that raised, in retired workers too.

        After `closing`, and once. It is not to be cancelled: the fleet sees to that, and kills what takes too long.
        """
        # Those on their way out first; none is added to them meanwhile, since the lane is closing.
        while going := self._going():
            await asyncio.gather(*going, return_exceptions=True)
            await asyncio.sleep(0)  # to `_forget` them: `gather` does not wait for what is done, since 3.12
        for hired in [*self.hired]:
            hired.worker.hang_up()
        # Behind a start that may be at work in the same thread: `_close` finds its worker, whether it came or not.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close, graceful)
        self._thread.shutdown(wait=False)  # both are idle, and end by themselves
        self._undertaker.shutdown(wait=False)
        return self._problems

    def _close(self, graceful: bool) -> None:
        """End those that are left, in the lane's thread, which starts no more after this."""
        for hired in [*self.hired]:
            hired.life.end()
            self._end(hired, graceful)
            self._leave(hired)

    def _end(self, hired: Hired, graceful: bool = True) -> Remains:
        """End a worker in good order, in a thread: it blocks. Until it returns `kill` reaches a teardown that hangs."""
        worker, interrupted = hired.worker, False
        try:
            self._problems += worker.teardown() if graceful and worker.alive else []
            self._problems += self._returned.pickled(worker.returned)
        except BrokenExecutor:
            interrupted = True
        remains = worker.end()
        if interrupted:
            self._interrupted(hired, remains)
        return remains

    def _interrupted(self, hired: Hired, remains: Remains) -> None:
        """A worker did not get through its teardown: ended by it, by our patience, or by somebody else."""
        text = f"the worker of {self.name} (pid {hired.worker.pid}) was ended in its teardown: {remains.ending}"
        why = hired.guard.why  # none, or overdue, or it still had a batch that nobody waits for
        if why is EndedFor.OVERDUE or (why is None and not remains.foreign):
            self._problems.append(text)
        else:
            logger.warning(text)


def _unclaimed(hired: Hired, ticket: int, batch: Packed) -> int | None:
    """The index of the first record of a batch that its worker has not claimed; None where there is none."""
    index = hired.worker.cursor.unclaimed(ticket) if hired.ended is None else None
    return index if index is not None and index < batch.records else None


def _looked_at(future: asyncio.Future[Any]) -> None:
    """Whoever waited has left: an error of the start is nobody's, and not to be reported as forgotten."""
    if not future.cancelled():
        future.exception()


def _hold_back_sigpipe() -> None:
    """In a lane's thread: a worker that has died is an error there, also where the signal is at its default.

    The pool's threads, which write to workers too, are started in these and have it from them.
    """
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
