"""A lane that is at work has its next batch with it already, so that its worker never waits for the loop."""

from __future__ import annotations

import pytest

from pipeframe_async.testing import FakeExecutor
from pipeframe_async.testing.executor import FakeLane
from pipeframe_async.wire import ChainRef, Death, Packed, Reply
from tests.engine.feeds import ON_LOOP
from tests.engine.harness import FakeFrame, Sunk, Tap, settled

pytestmark = pytest.mark.virtual_clock


class SeenLane(FakeLane):
    """Counts the batches it was handed while it had another."""

    inside = 0
    early = 0

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        self.early += self.inside
        self.inside += 1
        try:
            return await super().run(chain, number, batch, ship=ship)
        finally:
            self.inside -= 1


async def handed_early(source: str, pause: float) -> tuple[int, int]:
    """Of how many batches, how many were in their lane before it had finished the one before."""
    executor = FakeExecutor(2, delay=lambda number, records: 0.02)
    lanes = tuple(SeenLane(f"lane {number}", executor, 2) for number in range(2))
    executor.lanes = lanes
    frame = FakeFrame(executor, buffer_size=1000)
    pipeline = Sunk(ON_LOOP["async generator"](Tap(), 400, pause), source=source, batch_size=4)
    await frame.run(pipeline)
    assert pipeline.taken == list(range(400))
    settled(frame)
    return len(executor.batches), sum(lane.early for lane in lanes)


@pytest.mark.parametrize("source", ["batch", "stream"])
async def test_also_when_the_feed_has_ended(source: str) -> None:
    batches, early = await handed_early(source, 0.0)
    assert early >= 0.8 * batches


async def test_while_the_feed_gives_more_than_the_lanes_take() -> None:
    batches, early = await handed_early("stream", 0.0005)
    assert early >= 0.8 * batches


async def test_not_when_lanes_are_idle() -> None:
    _, early = await handed_early("stream", 0.05)
    assert early == 0
