"""An executor whose lanes take time without taking any: for tests of the engine on the virtual clock.

Batches go through the real envelope, in this process, after a virtual delay. Lanes can be told to die, to hang
and to refuse, over batches or over records; a lane that died takes its start time again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from pipeframe_async._worker import codec, envelope
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
            if number in self._fleet.hangs:
                await _for_ever()
            seconds = self._fleet.seconds(number, batch.records)
            await asyncio.sleep(seconds)
            death = await self._died(chain, number, batch, ship)
            if death is not None:
                self._alive = False
                return death
            self.batches.append((number, batch.records))
            return self._work(chain, number, batch, ship)._replace(wall=seconds, cpu=seconds)

    async def _died(self, chain: ChainRef, number: int, batch: Packed, ship: bool) -> Death | None:
        """How the worker dies of this batch; None where it lives."""
        fleet = self._fleet
        cause = f"{self.name} died, as it was told to"
        if number in fleet.deaths and number not in fleet.died:
            fleet.died.add(number)
            at = batch.records // 2
            return Death(cause, at=at, ran=at, foreign=True)
        for at, record in enumerate(_records(batch)):
            if fleet.poison(record):
                return Death(cause, at=at, ran=at)
            if fleet.stuck(record):
                if chain.time_limit is None:
                    await _for_ever()
                await asyncio.sleep(chain.time_limit or 0)
                done = self._work(chain, number, batch.part(batch.start, batch.start + at), ship) if at else None
                return Death(cause, kind="timeout", at=at, done=done and done._replace(wall=0.0, cpu=0.0))
        return None

    def _work(self, chain: ChainRef, number: int, batch: Packed, ship: bool) -> Reply:
        return envelope.work(chain.key, chain.data, number, batch.data, ship, batch.span)


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
    ) -> None:
        self._delay = delay
        self.start_seconds = start_seconds
        self.deaths = deaths
        self.died: set[int] = set()
        self.hangs = hangs
        self.refusals = refusals
        self.poison = poison
        self.stuck = stuck
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


def _records(batch: Packed) -> list[Any]:
    """The records of a batch that are to be run, for the fleet's tests of them."""
    if isinstance(batch.data, tuple):
        return [codec.loads(frame) for frame in batch.data]
    records: list[Any] = codec.loads(batch.data)
    return records[batch.start : batch.start + batch.records]


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
