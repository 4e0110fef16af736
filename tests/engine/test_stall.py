"""A wake-up that is lost is an error that shows the state; a wait for somebody else is none, however long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import InternalError
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.stall import STALL_SECONDS
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Kept, Stream, a_run, balanced, watched

pytestmark = pytest.mark.virtual_clock

FAR = 10 * STALL_SECONDS


class Dumb(Bell):
    """Rings so many times, and then no more."""

    def __init__(self, rings: int) -> None:
        super().__init__()
        self.left = rings

    def ring(self) -> bool:
        self.left -= 1
        return self.left >= 0 and super().ring()


@pytest.mark.parametrize(
    ("bell", "rings"),
    [("backlog", 0), ("backlog", 3), *((bell, n) for bell in ("freed", "collect") for n in (0, 5, 9))],
)
async def test_a_lost_wake_up_is_found_and_says_where_everybody_stands(bell: str, rings: int) -> None:
    run = a_run(Kept(range(2000)), FakeExecutor(delay=0.01), buffer_size=20)
    parts = run.parts
    holder: Any = {"backlog": parts.backlog, "freed": parts.books, "collect": parts.collect}[bell]
    setattr(holder, "freed" if bell == "freed" else "bell" if bell == "backlog" else "_bell", Dumb(rings))
    if bell == "backlog":
        parts.books._work = parts.backlog.bell
    if bell == "freed":
        parts.intake._freed = parts.books.freed
    with pytest.raises(InternalError, match="a wake-up was lost") as caught:
        await watched(run)
    assert "bell.py" in str(caught.value)
    assert "backlog <ENDED" in str(caught.value) or "backlog <OPEN" in str(caught.value)
    assert caught.value.report is not None
    assert balanced(caught.value.report)


async def test_a_slow_lane_is_no_stall() -> None:
    report = await a_run(Kept(range(10)), FakeExecutor(1, delay=FAR)).execute()
    assert report.delivered == 10


async def test_a_lane_that_is_slow_to_start_is_no_stall() -> None:
    report = await a_run(Kept(range(10)), FakeExecutor(1, start_seconds=FAR)).execute()
    assert report.delivered == 10


async def test_a_slow_sink_is_no_stall() -> None:
    report = await a_run(Kept(range(10), slow=FAR)).execute()
    assert report.delivered == 10


async def test_a_slow_feed_is_no_stall() -> None:
    class Slow(Kept):
        timeout = None

    report = await a_run(Slow([1, FAR, 2, FAR, 3])).execute()
    assert report.delivered == 3


async def test_a_consumer_that_takes_nothing_is_no_stall() -> None:
    run = a_run(Stream(range(100)), buffer_size=10, streaming=True)
    running = asyncio.ensure_future(watched(run))
    await anext(run.results)
    await asyncio.sleep(FAR)
    taken = [record async for record in run.results]
    assert len(taken) == 99
    assert (await running).delivered == 100
