"""What waits is bounded, also behind the last queue; and a task factory changes when tasks begin, and no result."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeframe_async import Delivery
from pipeframe_async._engine.settling.handles import MOST_ANSWERING
from tests.engine.harness import FakeFrame, Sunk, settled


@pytest.mark.virtual_clock
async def test_a_source_that_takes_answers_slowly_is_asked_for_less() -> None:
    handed = answered = answering = most = most_out = 0

    async def ack() -> None:
        nonlocal answering, most, answered
        answering += 1
        most = max(most, answering)
        await asyncio.sleep(0.5)
        answering -= 1
        answered += 1

    async def feed() -> AsyncIterator[Delivery[int]]:
        nonlocal handed, most_out
        for number in range(300):
            handed += 1
            most_out = max(most_out, handed - answered)
            yield Delivery(number, ack=ack)

    frame = FakeFrame(buffer_size=40)
    report = await frame.run(Sunk(feed))
    assert (report.delivered, answered, report.ack_errors) == (300, 300, 0)
    assert most == MOST_ANSWERING
    assert most_out <= 40 + 1  # the one that the feed has made and not handed over yet


@pytest.mark.virtual_clock
async def test_answers_that_never_return_hold_up_the_end_no_longer_than_drain_timeout() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    frame = FakeFrame(buffer_size=40, drain_timeout=3.0)
    running = asyncio.ensure_future(frame.run(Sunk([Delivery(n, ack=never) for n in range(100)])))
    await asyncio.sleep(1)
    frame.stop()
    report = await running
    assert asyncio.get_running_loop().time() <= 1 + 2 * 3.0 + 0.1
    assert report.ack_errors == report.delivered == 40
    settled(frame)


@pytest.mark.one_loop
@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_an_eager_task_factory_changes_no_result() -> None:
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - 3.11 has none

    async def at_once(record: int) -> tuple[Any, bool]:
        return record, True

    frame, pipeline = FakeFrame(), Sunk(range(100), steps=(lambda n: (n, True), at_once, lambda n: (n, True), at_once))
    await frame.run(pipeline)
    assert pipeline.taken == [*range(100)]
    settled(frame)
