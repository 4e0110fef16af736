"""Stop asking first, work off, answer, close last; and what is the feed's own affair stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeframe_async import Delivery, FeedError
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, Sunk, failing, settled

pytestmark = pytest.mark.virtual_clock


class Connection:
    """Opened and closed in the feed; an ack over it fails when it is closed."""

    def __init__(self) -> None:
        self.open = False
        self.acked: list[int] = []
        self.refused: list[int] = []

    async def __aenter__(self) -> Connection:
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open = False

    async def ack(self, number: int) -> None:
        await asyncio.sleep(0.01)
        (self.acked if self.open else self.refused).append(number)

    def delivery(self, number: int) -> Delivery[int]:
        return Delivery(number, ack=lambda: self.ack(number), nack=lambda failure: self.ack(number))


@pytest.mark.parametrize("ends", ["stopped", "idle", "failed"])
@pytest.mark.parametrize("bucket", [False, True])
async def test_what_a_feed_has_opened_is_there_until_all_is_answered(ends: str, bucket: bool) -> None:
    connection = Connection()

    async def feed() -> AsyncIterator[Delivery[int]]:
        async with connection:
            for number in range(40):
                yield connection.delivery(number)
            await asyncio.Event().wait()

    async def put(bucket: Any) -> None:
        async with connection:
            for number in range(40):
                await bucket.put(connection.delivery(number))
            await asyncio.Event().wait()

    steps = (failing,) if ends == "failed" else (lambda n: (n, True),)
    pipeline = Sunk(put if bucket else feed, steps=steps, timeout=1.0 if ends == "idle" else None)
    frame = FakeFrame(FakeExecutor(delay=0.05), buffer_size=10)
    running = asyncio.ensure_future(frame.run(pipeline))
    await asyncio.sleep(0.3)
    if ends == "stopped":
        frame.stop()
    await asyncio.wait([running])
    running.exception()
    assert settled(frame).ended_by == ends
    assert not connection.open
    assert connection.refused == []
    assert len(connection.acked) == len(set(connection.acked)) == settled(frame).fed


async def test_a_task_group_in_a_feed_that_is_closed_is_no_error() -> None:
    async def feed() -> AsyncIterator[int]:
        async with asyncio.TaskGroup():
            number = 0
            while True:
                yield (number := number + 1)

    frame = FakeFrame(FakeExecutor(delay=0.1), buffer_size=5)
    running = asyncio.ensure_future(frame.run(Sunk(feed)))
    await asyncio.sleep(1)
    frame.stop()
    report = await running
    assert (report.ended_by, report.aborted) == ("stopped", 0)


@pytest.mark.parametrize("slow", [0.0, 0.05])
async def test_a_timeout_in_a_feed_means_what_it_means_whether_it_waits_or_is_held_back(slow: float) -> None:
    closed = False

    async def feed() -> AsyncIterator[int]:
        nonlocal closed
        try:
            async with asyncio.timeout(1.0):
                for number in range(1000):
                    yield number
                    await asyncio.sleep(0.02)
        except TimeoutError:
            closed = True

    frame = FakeFrame(FakeExecutor(1, delay=slow), buffer_size=2)
    pipeline = Sunk(feed, slow=slow)
    report = await frame.run(pipeline)
    assert (report.ended_by, closed) == ("exhausted", True)
    assert pipeline.taken == [*range(report.fed)]


async def test_a_record_that_a_feed_yields_after_its_timeout_is_a_record() -> None:
    async def feed() -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.1):
                while True:
                    yield "early"
        except TimeoutError:
            yield "late"

    pipeline = Sunk(feed, slow=0.3)
    report = await FakeFrame(buffer_size=1).run(pipeline)
    assert report.ended_by == "exhausted"
    assert pipeline.taken[-1] == "late"


async def test_a_cancel_that_a_feed_does_not_catch_is_its_error() -> None:
    async def feed() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    with pytest.raises(FeedError, match="CancelledError"):
        await FakeFrame().run(Sunk(feed))
