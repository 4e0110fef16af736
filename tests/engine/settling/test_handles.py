"""Handles of deliveries that misbehave: they are counted and logged, and stop nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pipeframe_async import Delivery
from pipeframe_async._engine.settling.handles import Handles
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Answers, FakeFrame, Sunk, Through, delivered, failing, now, passing, settled

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
    assert said == ["taken", "ack"]


async def test_a_failure_that_nobody_has_is_nacked_with_it() -> None:
    nacked: list[Any] = []
    feed = [Delivery(number, ack=is_cancelled, nack=nacked.append) for number in range(2)]
    await FakeFrame(FakeExecutor()).run(Sunk(feed, steps=[failing], max_failures=None))
    assert [failure.record for failure in nacked] == [0, 1]


# By themselves.


async def test_a_cancel_while_handles_are_answered_is_passed_on_when_they_are() -> None:
    done: list[bool] = []

    async def ack() -> None:
        await asyncio.sleep(2)
        done.append(True)

    handles = Handles()
    handles.hold(0, Delivery("a", None, ack))
    handles.settled(delivered(0, "a"))
    closing = asyncio.ensure_future(handles.answered(10))
    await asyncio.sleep(1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert done == [True]


async def test_a_handle_that_is_not_answered_in_time_is_cancelled_and_counted() -> None:
    async def ack() -> None:
        await asyncio.sleep(1000)

    handles = Handles()
    handles.hold(0, Delivery("a", None, ack))
    handles.settled(delivered(0, "a"))
    await handles.answered(1)
    assert (handles.errors, now()) == (1, 1)


async def test_a_delivery_without_a_handle_needs_no_answer() -> None:
    handles = Handles()
    handles.hold(0, Delivery("a", None, None, None))
    handles.hold(1, Delivery("b", None, None, None))
    handles.settled(delivered(0, "a"))
    handles.abort_rest()
    await handles.answered(1)
    assert handles.errors == 0


async def test_each_is_answered_once() -> None:
    answers, handles = Answers(), Handles()
    handles.hold(7, answers.delivery(7))
    handles.settled(delivered(7, "a"))
    handles.settled(delivered(7, "a"))
    handles.abort_rest()
    assert (answers.acked, answers.nacked) == ([7], [])


async def test_deliveries_that_nobody_takes_any_more_are_given_back() -> None:
    answers, handles = Answers(), Handles()
    handles.refuse([answers.delivery(1), "no delivery", answers.delivery(2)])
    assert (answers.acked, answers.nacked, answers.failures) == ([], [1, 2], [None, None])
