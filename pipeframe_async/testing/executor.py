"""An executor whose lanes take time without taking any: for tests of the engine on the virtual clock.

Batches go through the real envelope, in this process, after a virtual delay. Lanes can be told to die or to hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from pipeframe_async._worker import envelope
from pipeframe_async.errors import WorkerLost
from pipeframe_async.executors.inline import InProcessChains
from pipeframe_async.executors.packing import Packing
from pipeframe_async.wire import ChainRef, ChainSpec, Packed, Reply

Seconds = float | Callable[[int, int], float]
"""How long a batch takes: always the same, or by its number and its count of records."""


class FakeLane:
    """A lane that runs one batch at a time, in the order they came.

    Attributes:
        batches: the number and size of each batch that was run, in order.
    """

    workers = 1

    def __init__(self, name: str, fleet: FakeExecutor, slots: int) -> None:
        self.name = name
        self.slots = slots
        self.batches: list[tuple[int, int]] = []
        self._fleet = fleet
        self._busy = asyncio.Lock()

    async def start(self) -> None:
        """Take the fleet's start time."""
        await asyncio.sleep(self._fleet.start_seconds)

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply:
        """Wait for the batches before, take the delay, and run the batch."""
        async with self._busy:
            if number in self._fleet.hangs:
                await asyncio.get_running_loop().create_future()
            seconds = self._fleet.seconds(number, batch.records)
            await asyncio.sleep(seconds)
            if number in self._fleet.deaths:
                raise WorkerLost(f"{self.name} died with batch {number}, as it was told to")
            self.batches.append((number, batch.records))
            reply = envelope.work(chain.key, chain.data, number, batch.data, ship)
            return reply._replace(wall=seconds, cpu=seconds)


class FakeExecutor:
    """A fleet of fake lanes.

    Args:
        lanes: how many.
        delay: how long a batch takes, seconds. The engine is told the same.
        slots: batches a lane takes at once; it runs one.
        start_seconds: how long a lane takes to start.
        deaths: numbers of batches whose worker dies.
        hangs: numbers of batches that never end.
    """

    where = "fake"
    restarts = 0

    def __init__(
        self,
        lanes: int = 2,
        *,
        delay: Seconds = lambda number, records: 1e-6 * records,
        slots: int = 2,
        start_seconds: float = 0.0,
        deaths: Collection[int] = (),
        hangs: Collection[int] = (),
    ) -> None:
        self._delay = delay
        self.start_seconds = start_seconds
        self.deaths = deaths
        self.hangs = hangs
        self.codec = Packing()
        self.lanes = tuple(FakeLane(f"lane {number}", self, slots) for number in range(lanes))
        self._chains = InProcessChains()

    def seconds(self, number: int, records: int) -> float:
        """Seconds that this batch takes."""
        return self._delay(number, records) if callable(self._delay) else self._delay

    @property
    def batches(self) -> list[tuple[int, int]]:
        """Number and size of every batch that was run, by number."""
        return sorted(batch for lane in self.lanes for batch in lane.batches)

    def load(self, chain: ChainSpec) -> ChainRef:
        """Install the chain in this process."""
        return self._chains.load(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """Run the teardowns."""
        self._chains.close()
