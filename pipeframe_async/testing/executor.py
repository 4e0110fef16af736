"""An executor whose lanes take time without taking any: for tests of the engine on the virtual clock.

Batches go through the real envelope, in this process, after a virtual delay. Lanes can be told to die, to hang
and to refuse, over batches or over records, and can be killed; a lane that died takes its start time again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from pipeframe_async._worker import codec, envelope
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import WorkerLost
from pipeframe_async.executors.inline import InProcessChains
from pipeframe_async.executors.packing import Packing
from pipeframe_async.wire import ChainRef, ChainSpec, Death, Packed, Reply

Seconds = float | Callable[[int, int], float]
"""How long a batch takes: always the same, or by its number and its count of records."""

Test = Callable[[Any], bool]


def never(record: Any) -> bool:
    """Of no record."""
    return False


class FakeLane:
    """A lane that runs one batch at a time, in the order they came.

    Attributes:
        batches: the number and size of each batch that was run, in order.
        lives: how many workers it has had.
    """

    workers = 1

    def __init__(self, name: str, fleet: FakeExecutor, slots: int) -> None:
        self.name = name
        self.slots = slots
        self.batches: list[tuple[int, int]] = []
        self.lives = 0
        self._alive = False
        self._fleet = fleet
        self._busy = asyncio.Lock()
        self._killed: asyncio.Future[None] | None = None  # done when the worker is killed over the batch it has

    def kill(self) -> None:
        """End the worker now, as somebody from outside does; where there is none nothing happens."""
        self._alive = False
        if self._killed is not None and not self._killed.done():
            self._killed.set_result(None)

    async def start(self) -> None:
        """Take the fleet's start time, where there is no worker."""
        await asyncio.sleep(0 if self._alive else self._fleet.start_seconds)
        if not self._alive:
            self._alive = True
            self.lives += 1

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Wait for the batches before, take the delay, and run the batch, or die of it."""
        await self.start()
        life = self.lives
        async with self._busy:
            if life != self.lives or not self._alive:
                return Death(f"{self.name} died of another batch", begun=False)
            if number in self._fleet.refusals:
                raise WorkerLost(f"{self.name} refuses batch {number}, as it was told to")
            seconds = self._fleet.seconds(number, batch.records)
            share = await self._lasts(None if number in self._fleet.hangs else seconds)
            if share < 1.0:
                at = int(share * batch.records)
                return Death(f"{self.name} was killed, as it was told to", at=at, ran=at, foreign=True)
            death = await self._died(chain, number, batch, ship)
            if death is not None:
                self._alive = False
                return death
            self.batches.append((number, batch.records))
            return self._work(chain, number, batch, ship)._replace(
                wall=seconds, cpu=seconds, worked=seconds * self._fleet.work
            )

    async def _lasts(self, seconds: float | None) -> float:
        """Let so many seconds pass, or for ever; returns which share of them (of which 1.0 is all) the worker lived."""
        if seconds is not None and seconds <= 0.0:
            await asyncio.sleep(0)
            return 1.0 if self._alive else 0.0
        loop = asyncio.get_running_loop()
        began, self._killed = loop.time(), loop.create_future()
        try:
            await asyncio.wait([self._killed], timeout=seconds)
        finally:
            self._killed = None
        if self._alive:
            return 1.0
        return 0.0 if seconds is None else min((loop.time() - began) / seconds, 0.999)

    async def _died(self, chain: ChainRef, number: int, batch: Packed, ship: bool) -> Death | None:
        """How the worker dies of this batch; None where it lives."""
        fleet = self._fleet
        cause = f"{self.name} died, as it was told to"
        if number in fleet.deaths and number not in fleet.died:
            fleet.died.add(number)
            at = batch.records // 2
            return Death(cause, at=at, ran=at, foreign=True)
        for at, record in _readable(batch):
            if fleet.poison(record):
                return Death(cause, at=at, ran=at)
            if fleet.stuck(record):
                if await self._lasts(chain.time_limit) < 1.0:
                    return Death(cause, at=at, ran=at, foreign=True)
                done = self._work(chain, number, batch.stretch(0, at), ship) if at else None
                return Death(cause, kind="timeout", at=at, done=done and done._replace(wall=0.0, cpu=0.0))
        return None

    def _work(self, chain: ChainRef, number: int, batch: Packed, ship: bool) -> Reply:
        return envelope.work(chain.key, chain.data, number, batch.data, ship, batch.span, portions=batch.portions)

    def drop(self, token: int) -> None:
        """Close its generators here."""
        envelope.drop(token)


class FakeExecutor:
    """A fleet of fake lanes.

    Args:
        lanes: how many.
        delay: how long a batch takes, seconds. The engine is told the same.
        slots: batches a lane takes at once; it runs one.
        start_seconds: how long a lane takes to start.
        deaths: numbers of batches whose worker is killed from outside at their middle, once.
        hangs: numbers of batches that never end.
        refusals: numbers of batches with which a lane gives up for good.
        poison: records that kill their worker whenever they are run.
        stuck: records that never end; their worker is ended at the pipeline's `time_limit`.
        work: the share of a batch's seconds that are spent in its steps.
        beside: where chains are run that are not worth this one.
    """

    where = "fake"

    def __init__(
        self,
        lanes: int = 2,
        *,
        delay: Seconds = lambda number, records: 1e-6 * records,
        slots: int = 2,
        start_seconds: float = 0.0,
        deaths: Collection[int] = (),
        hangs: Collection[int] = (),
        refusals: Collection[int] = (),
        poison: Test = never,
        stuck: Test = never,
        work: float = 1.0,
        beside: Executor | None = None,
    ) -> None:
        self._delay = delay
        self.start_seconds = start_seconds
        self.deaths = deaths
        self.died: set[int] = set()
        self.hangs = hangs
        self.refusals = refusals
        self.poison = poison
        self.stuck = stuck
        self.work = work
        self.beside = beside
        self.codec = Packing()
        self.lanes = tuple(FakeLane(f"lane {number}", self, slots) for number in range(lanes))
        self._chains = InProcessChains()

    @property
    def restarts(self) -> int:
        """Workers in place of those that died."""
        return sum(max(0, lane.lives - 1) for lane in self.lanes)

    def seconds(self, number: int, records: int) -> float:
        """Seconds that this batch takes."""
        return self._delay(number, records) if callable(self._delay) else self._delay

    @property
    def batches(self) -> list[tuple[int, int]]:
        """Number and size of every batch that was run, by number."""
        return sorted(batch for lane in self.lanes for batch in lane.batches)

    def load(self, chain: ChainSpec) -> ChainRef:
        """Install the chain in this process; this executor keeps its time limit."""
        return self._chains.load(chain._replace(time_limit=None))._replace(time_limit=chain.time_limit)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """Run the teardowns."""
        self._chains.close()


def _readable(batch: Packed) -> list[tuple[int, Any]]:
    """The records of a batch that are to be run and can be read, with their places, for the fleet's tests of them."""
    if batch.resumes:
        return []
    if not isinstance(batch.data, tuple):
        try:
            records: list[Any] = codec.loads(batch.data)
        except BaseException:  # the envelope will ask for frames
            return []
        return list(enumerate(records[batch.start : batch.start + batch.records]))
    found = []
    for at, frame in enumerate(batch.data):
        with suppress(BaseException):
            found.append((at, codec.loads(frame)))
    return found
