"""What would be lost without a word is said: in the log, in the report, or as an error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeframe_async import FeedError
from tests.engine.harness import FakeFrame, Sunk

pytestmark = pytest.mark.virtual_clock


async def test_a_feed_that_is_ended_while_it_is_at_work_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def feed() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(2.5)
        yield 2

    with caplog.at_level(logging.WARNING):
        report = await FakeFrame().run(Sunk(feed))
    assert (report.ended_by, report.fed) == ("idle", 1)
    assert "the feed of Sunk gave nothing for timeout=2 s" in caplog.text
    assert "timeout=None" in caplog.text
    assert "The feed had not ended" in str(report)


async def test_a_feed_that_has_ended_is_not(caplog: pytest.LogCaptureFixture) -> None:
    report = await FakeFrame().run(Sunk(range(3)))
    assert caplog.text == ""
    assert "had not ended" not in str(report)


async def test_a_put_that_nobody_has_awaited_is_an_error() -> None:
    kept: list[Any] = []

    async def feed(bucket: Any) -> None:
        await bucket.put(1)
        kept.extend(bucket.put(n) for n in (2, 3))

    pipeline = Sunk(feed)
    with pytest.raises(FeedError, match=r"2 calls of bucket\.put were not awaited"):
        await FakeFrame().run(pipeline)
    assert pipeline.taken == [1]
    for put in kept:
        put.close()
