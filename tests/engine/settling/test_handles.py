"""Handles of deliveries that misbehave: they are counted and logged, and stop nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pipeframe_async import Delivery
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, Sunk, Through, failing, passing, settled

pytestmark = pytest.mark.virtual_clock


def raises(*_: Any) -> None:
    raise ConnectionError("the broker is gone")


async def raises_later(*_: Any) -> None:
    await asyncio.sleep(1.0)
    raise ConnectionError("the broker is gone")


async def is_cancelled(*_: Any) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("steps", [[passing], [failing]], ids=["ack", "nack"])
@pytest.mark.parametrize("handle", [raises, raises_later])
async def test_a_handle_that_raises_is_counted_and_logged_and_stops_nothing(
    handle: Any, steps: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frame = FakeFrame()
    feed = [Delivery(number, ack=handle, nack=handle) for number in range(10)]
    report = await frame.run(Through(feed, steps=steps, max_failures=None))
    settled(frame)
    assert (report.delivered + report.failed, report.ack_errors) == (10, 10)
    assert "ack errors 10" in str(report)
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert logged == ["an ack or nack raised ConnectionError: the broker is gone"] * 10


async def test_a_handle_that_is_cancelled_does_not_cancel_the_run() -> None:
    feed = [Delivery(number, ack=is_cancelled) for number in range(3)]
    assert (await FakeFrame().run(Through(feed))).delivered == 3


@pytest.mark.parametrize("steps", [[passing], [passing, failing], [failing]])
async def test_a_handle_is_answered_after_the_sink_or_the_dead_letter_has_returned(steps: Any) -> None:
    said: list[str] = []

    class Told(Sunk):
        max_failures = None

        async def sink(self, records: list[Any]) -> None:
            await asyncio.sleep(1.0)
            said.append("taken")

        async def dead_letter(self, failures: list[Any]) -> None:
            await asyncio.sleep(1.0)
            said.append("taken")

    feed = [Delivery(0, ack=lambda: said.append("ack"), nack=lambda failure: said.append("nack"))]
    await FakeFrame(FakeExecutor()).run(Told(feed, steps=steps))
    assert said == ["taken", "nack" if failing in steps else "ack"]
