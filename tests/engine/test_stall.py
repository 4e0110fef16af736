"""A wake-up that is lost is an error that shows the state; a wait for somebody else is none, however long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import InternalError
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.stall import STALL_SECONDS, StallDetector, Watched, describe
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
    parts = run.organs
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


# The detector by itself.


class Seen:
    """A run as the detector sees it."""

    def __init__(self) -> None:
        self.whom, self.moves = "", 0
        self.detector = StallDetector()
        self.detector.begin(Watched(lambda: self.whom, lambda: self.moves, lambda: "how it is"))


async def test_nothing_that_moves_and_nobody_to_wait_for_is_a_stall() -> None:
    seen = Seen()
    with pytest.raises(InternalError, match="how it is"):
        await seen.detector.found
    assert asyncio.get_running_loop().time() == STALL_SECONDS
    seen.detector.end()


@pytest.mark.parametrize("what", ["moves", "waits"])
async def test_what_moves_or_waits_for_somebody_is_none(what: str) -> None:
    seen = Seen()
    for _ in range(5):
        seen.moves += what == "moves"
        seen.whom = "the feed" if what == "waits" else ""
        await asyncio.sleep(STALL_SECONDS * 0.9)
    assert not seen.detector.found.done()
    seen.detector.end()


async def test_a_wait_is_looked_at_again_when_something_moves_and_not_before() -> None:
    seen = Seen()
    seen.whom = "the feed"
    await asyncio.sleep(FAR)
    seen.whom = ""
    await asyncio.sleep(FAR)
    assert not seen.detector.found.done()
    seen.detector.touch()
    with pytest.raises(InternalError):
        await seen.detector.found
    seen.detector.end()


async def test_touching_one_that_watches_nothing_does_nothing() -> None:
    detector = StallDetector()
    detector.touch()
    await asyncio.sleep(FAR)
    assert not detector.found.done()
    detector.end()


async def test_tasks_are_described_by_their_names_and_the_awaits_they_stand_in() -> None:
    async def outer() -> None:
        await inner()

    async def inner() -> None:
        await asyncio.sleep(1000)

    assert describe([]) == "no task is pending"
    task = asyncio.get_running_loop().create_task(outer(), name="the one")
    await asyncio.sleep(0)
    said = describe([task])
    assert said.startswith("1 pending:\n  the one")
    assert said.index("in outer") < said.index("in inner") < said.index("waiting for ")
    task.cancel()
    await asyncio.wait([task])
    assert describe([task]) == "no task is pending"
