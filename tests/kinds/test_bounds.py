"""What waits is bounded, also behind the last queue; and a task factory changes when tasks begin, and no result."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeframe_async import Chunk, Delivery, Failure, PipeFrame, PipelineEngine
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

    frame = FakeFrame(buffer_size=100)
    report = await frame.run(Sunk(feed))
    assert (report.delivered, answered, report.ack_errors) == (300, 300, 0)
    assert most == MOST_ANSWERING
    assert most_out <= 100 + 1  # the one that the feed has made and not handed over yet


@pytest.mark.virtual_clock
@pytest.mark.parametrize("timeout", [1.0, None])
async def test_an_answer_that_never_returns_does_not_keep_a_feed_that_has_ended_or_dried(timeout: float | None) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def feed() -> AsyncIterator[Delivery[int]]:
        yield Delivery(1, ack=never)
        if timeout is not None:
            await asyncio.Event().wait()

    report = await FakeFrame(drain_timeout=3.0).run(Sunk(feed, timeout=timeout))
    assert (report.delivered, report.ack_errors) == (1, 1)
    assert report.ended_by == ("exhausted" if timeout is None else "idle")


@pytest.mark.virtual_clock
async def test_acks_that_share_one_future_and_nacks_of_what_was_refused_release_each_permit_once() -> None:
    commit = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1.0, commit.set_result, None)

    async def slow(failure: object) -> None:
        await asyncio.sleep(0.1)

    async def feed() -> AsyncIterator[Chunk[Any]]:
        yield Chunk([Delivery(n, ack=lambda: commit, nack=slow) for n in range(60)])

    frame = FakeFrame(buffer_size=20)
    async with frame.stream(Sunk(feed)) as results:
        async for result in results:
            if result == 30:
                break
    settled(frame)


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


class Kept(PipelineEngine[int, int]):
    """Async steps that take some turns of the loop; one of them keeps it, and one waits for ever."""

    source = "stream"
    time_limit = 0.4
    max_failures = None

    def __init__(self) -> None:
        self.steps = [self.waits]
        self.failed: list[tuple[int, str]] = []

    def feed(self) -> range:
        return range(20)

    async def waits(self, record: int) -> tuple[int, bool]:
        if record == 7:
            time.sleep(0.8)  # noqa: ASYNC251 - what no step should do
        if record == 9:
            await asyncio.Event().wait()
        for _ in range(3):
            await asyncio.sleep(0.02)
        return record, True

    def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.failed += [(failure.record, failure.kind) for failure in failures]


async def test_what_keeps_the_loop_costs_no_other_record_its_time() -> None:
    pipeline = Kept()
    began = time.monotonic()
    report = await PipeFrame(executor="inline").run(pipeline)
    assert (pipeline.failed, report.delivered) == ([(9, "timeout")], 19)
    assert time.monotonic() - began < 0.8 + 2 * 0.4 + 2.0  # twice its time at most, and a busy machine
