"""Any `concurrent.futures.Executor`: somebody else's pool, threads, loky. Lanes of one worker each, as many as it has.

The envelope is the same as everywhere, so what a record raises is its own affair. A worker that dies is not
ours to replace: the batch is given back as dead, to be tried in halves, for as long as the executor takes work.

Which worker has a lane's batch is the executor's to say, so a lane is a place in its queue and nobody's in particular.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from concurrent.futures import Executor as AnyExecutor
from contextlib import suppress
from functools import partial

from pipeframe_async._rules.hop import hop_of
from pipeframe_async._worker import envelope
from pipeframe_async._worker.channel import heavy
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async._worker.whereabouts import placed
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import StateError, WorkerLost
from pipeframe_async.executors.inline import warn_of_time_limit
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.stats import WorkerStats
from pipeframe_async.wire import UNKNOWN_CHAIN, WANTED, ChainRef, ChainSpec, Death, Packed, Reply

BATCHES_IN_LANE = 2
"""One at work and one that waits in the executor, so that none of its workers waits for the loop."""
MOST_IN_VAIN = 30
"""Batches that may die before the first reply. A batch with a deadly record at its front takes about 15 to halve."""
LOOK_SECONDS = 0.5
"""How often it looks whether the executor has grown. A look is an attribute."""
MOST_LANES = 256
"""Of an executor whose size may change."""


class Pool:
    """An executor, and what its lanes know of it together.

    Args:
        executor: where batches are submitted.
        size: how many workers it has, asked each time.
        silence: seconds without a reply, and without a batch that it says is under way, after which it is given up;
            None for an executor of our own.
        live: results are wanted as they are.
        alone: it is one thread of this process: what a batch has begun is there when it goes on, in the same thread.
    """

    def __init__(
        self,
        executor: AnyExecutor,
        size: Callable[[], int],
        *,
        silence: float | None = None,
        live: bool = False,
        alone: bool = False,
    ) -> None:
        self.name = f"{type(executor).__module__}.{type(executor).__qualname__}"
        self.executor = executor
        self.size = size
        self.work = partial(envelope.work, live=True) if live else envelope.work
        # Threads of this process: what steps log there is told where it comes from.
        self.threads = isinstance(executor, ThreadPoolExecutor)
        self.alone = alone
        self.known: set[str] = set()  # labels of chains that a worker was sent
        self._silence = silence
        self._heard = 0.0
        self._asked: dict[Future[Reply], None] = {}
        self._in_vain = 0

    async def answered(self, asked: Future[Reply]) -> asyncio.Future[Reply]:
        """Wait until a batch has come to an end, one way or another.

        Raises:
            WorkerLost: nothing has come from the executor, for long.
        """
        loop, answer = asyncio.get_running_loop(), asyncio.wrap_future(asked)
        if not self._asked:
            self._heard = loop.time()
        self._asked[asked] = None
        try:
            while not answer.done():
                # Set by a thread of the executor, by way of the loop. Others' replies move the limit meanwhile.
                left = None if self._silence is None else self._heard + self._silence - loop.time()
                await asyncio.wait([answer], timeout=left)
                if any(future.running() or future.done() for future in [*self._asked]):
                    self._heard = loop.time()
                elif self._silence is not None and loop.time() >= self._heard + self._silence:
                    raise WorkerLost(
                        f"{self.name} has begun no batch for {self._silence:g} s: has it any workers? If its batches "
                        "take longer, and it does not say that they are under way, PipeFrame(worker_timeout=...) waits"
                    )
        except BaseException:
            answer.cancel()  # taken back where it has not begun; else it runs to its end, and nobody waits for it
            raise
        finally:
            # One that nobody waits for any more may be at work all the same.
            asked.add_done_callback(lambda done: self._asked.pop(done, None))
        return answer

    def replied(self) -> None:
        """A batch was run."""
        self._in_vain = -1

    def died(self, batch: Packed, error: Exception) -> Death:
        """Our function never raises, so the executor has lost it, and does not say which record it was at.

        Raises:
            WorkerLost: that goes on and on.
        """
        cause = f"{self.name} lost the batch it was in: {_text(error)}"
        if self._in_vain >= 0:
            self._in_vain += 1
        if self._in_vain > MOST_IN_VAIN:
            raise WorkerLost(
                f"{self.name} has lost {self._in_vain} batches and answered none: {_text(error)}"
            ) from error
        return Death(cause, ran=batch.records, foreign=True)  # it does not say what it died of


class SharedLane:
    """A place for a batch in an executor, and for the next one.

    Args:
        pool: the executor.
        number: the place's; it is there while the executor has more workers than that.
    """

    slots = BATCHES_IN_LANE

    def __init__(self, pool: Pool, number: int) -> None:
        self.name = f"{pool.name} {number + 1}"
        self._pool = pool
        self._number = number
        self._cursors: dict[int, Cursor] = {}  # of batches that are in threads of this process, by their numbers
        self._answered = 0

    @property
    def workers(self) -> int:
        """One, or none where the executor has become smaller."""
        return int(self._number < self._pool.size())

    def stats(self) -> WorkerStats:
        """What it is at, where that can be seen: of threads the records of their batches. Any thread may ask."""
        at = [cursor.read().at or 0 for cursor in [*self._cursors.values()]]
        return WorkerStats(self.name, "idle", at=(self._answered, sum(at)))

    async def start(self) -> None:
        """Nothing to start: it is somebody else's, and starts when it is used. One that is too many is waited for."""
        while not self.workers:  # noqa: ASYNC110 - nobody tells when an executor grows
            await asyncio.sleep(LOOK_SECONDS)

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Submit the batch and wait for its reply; once more where a worker does not have what it needs."""
        whole = chain.label not in self._pool.known
        while True:
            reply = await self._asked(chain, number, batch, ship, whole=whole)
            if isinstance(reply, Death):
                return reply
            match reply.refusal:
                case None:
                    self._pool.known.add(chain.label)
                    return reply
                case refusal if refusal.kind == UNKNOWN_CHAIN and not whole:
                    whole = True
                case refusal if refusal.kind == WANTED and chain.more is not None:
                    chain.more.ask(refusal.message)
                    whole = True
                case _:
                    return reply

    async def _asked(self, chain: ChainRef, number: int, batch: Packed, ship: bool, *, whole: bool) -> Reply | Death:
        """Submit it and wait. `whole`: with the chain, for who may not have it."""
        if not self._pool.threads:
            return await self._submitted(self._pool.work, chain, number, batch, ship, whole=whole)
        cursor = self._cursors[number] = Cursor()
        try:
            work = partial(placed, batch.positions, "", self._pool.work, cursor=cursor)
            return await self._submitted(work, chain, number, batch, ship, whole=whole)
        finally:
            self._cursors.pop(number, None)

    async def _submitted(
        self, work: Callable[..., Reply], chain: ChainRef, number: int, batch: Packed, ship: bool, *, whole: bool
    ) -> Reply | Death:
        pool = self._pool
        work = partial(work, portions=batch.portions if pool.alone else None, traced=batch.traced)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            data = batch.data if pool.alone else heavy(batch.data)
            parcel = chain.parcel() if whole else None
            asked = pool.executor.submit(work, chain.label, parcel, number, data, ship, batch.span)
        except BrokenExecutor as error:
            raise WorkerLost(f"{pool.name} is broken and takes no more work: {_text(error)}") from error
        except Exception as error:
            raise StateError(f"{pool.name} does not take work: {_text(error)}") from error
        try:
            answer = await pool.answered(asked)
        except BaseException:
            asked.add_done_callback(partial(self._left, batch.resumes))
            raise
        if answer.cancelled():
            raise WorkerLost(f"{pool.name} cancelled batch {number}: was it shut down?")
        if isinstance(lost := answer.exception(), Exception):
            return pool.died(batch, lost)
        reply = answer.result()
        pool.replied()
        self._answered += 1
        if pool.threads:  # there it is turns of the GIL that are measured, and larger batches do not help
            return reply
        return reply._replace(hop=hop_of(loop.time() - began, reply.wall, reply.idle))

    def drop(self, token: int) -> None:
        """Have its generators closed, by a thread as it ran them."""
        with suppress(RuntimeError):  # it takes no work any more
            self._pool.executor.submit(envelope.drop, token)

    def _left(self, resumed: int, asked: Future[Reply]) -> None:
        """A batch that nobody waits for has come to its end, or would go on; or it has not begun to."""
        token = resumed if asked.cancelled() else 0 if asked.exception() is not None else asked.result().suspended
        if token:
            self.drop(token)


class SharedExecutor:
    """A foreign executor. It is never shut down here: who made it closes it.

    Args:
        executor: it.
        workers: how many batches it runs at the same time; None where it says so itself, and may change it.
        worker_timeout: seconds for which it may say nothing.
    """

    where = "executor"
    beside: Executor | None = None
    restarts = 0

    def __init__(self, executor: AnyExecutor, workers: int | None, worker_timeout: float | None = None) -> None:
        self.codec = Packing()
        size = partial(_size, executor) if workers is None else partial(int, workers)
        self._pool = Pool(executor, size, silence=worker_timeout)
        self.lanes = tuple(SharedLane(self._pool, number) for number in range(workers or MOST_LANES))

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain: this executor's workers may be other processes."""
        warn_of_time_limit(chain, f"by {self._pool.name}")
        return ship_chain(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """Nothing: the executor belongs to somebody else."""


def said_size(executor: AnyExecutor) -> int | None:
    """How many workers an executor says that it has; None where it does not."""
    has = getattr(executor, "_max_workers", None)  # no public name, but the same one in the standard pools and loky
    return has if isinstance(has, int) and has > 0 else None


def _size(executor: AnyExecutor) -> int:
    return said_size(executor) or 1


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
