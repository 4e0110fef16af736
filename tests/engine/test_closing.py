"""However a run ends, its feed has been closed by then, also one whose clean-up takes its time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from pipeframe_async import FeedError, PipelineFailed, SinkError, WorkerLost
from pipeframe_async.testing import FakeExecutor
from tests.engine.feeds import CLOSED, IN_THREAD, ON_LOOP, Form
from tests.engine.harness import FakeFrame, Sunk, Tap, Through, failing, now, settled

Feed = Callable[[], Any]
Ending = Callable[[Feed, Tap], Awaitable[str]]


async def exhausted(feed: Feed, tap: Tap) -> str:
    frame = FakeFrame(buffer_size=50)
    await frame.run(Sunk(feed()))
    return settled(frame).ended_by


async def sink_error(feed: Feed, tap: Tap) -> str:
    async def sink(records: list[Any]) -> None:
        raise OSError("full")

    frame = FakeFrame(buffer_size=50)
    with pytest.raises(SinkError, match="OSError: full"):
        await frame.run(Through(feed(), sink=sink))
    return settled(frame).ended_by


async def dead_letter_error(feed: Feed, tap: Tap) -> str:
    async def dead_letter(failures: list[Any]) -> None:
        raise OSError("full")

    frame = FakeFrame(buffer_size=50)
    with pytest.raises(SinkError, match="dead_letter raised OSError: full"):
        await frame.run(Through(feed(), dead_letter=dead_letter, steps=(failing,)))
    return settled(frame).ended_by


async def too_many_failures(feed: Feed, tap: Tap) -> str:
    frame = FakeFrame(buffer_size=50)
    with pytest.raises(PipelineFailed):
        await frame.run(Through(feed(), steps=(failing,)))
    return settled(frame).ended_by


async def worker_lost(feed: Feed, tap: Tap) -> str:
    frame = FakeFrame(FakeExecutor(refusals={2}), buffer_size=50)
    with pytest.raises(WorkerLost):
        await frame.run(Through(feed()))
    return settled(frame).ended_by


async def started(frame: FakeFrame, tap: Tap, records: int = 20) -> None:
    while not frame.made or frame.made[-1].stats().fed < records:
        await asyncio.sleep(0.001)


async def cancelled(feed: Feed, tap: Tap) -> str:
    frame = FakeFrame(buffer_size=50)
    task = asyncio.ensure_future(frame.run(Through(feed())))
    await started(frame, tap)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return settled(frame).ended_by


async def stopped(feed: Feed, tap: Tap) -> str:
    frame = FakeFrame(buffer_size=50)
    task = asyncio.ensure_future(frame.run(Through(feed())))
    await started(frame, tap)
    frame.stop()
    report = await task
    assert report.fed == report.delivered + report.aborted
    assert report.aborted <= tap.cut  # the rest of a chunk that had no room; of all other feeds, nothing
    return settled(frame).ended_by


async def left(feed: Feed, tap: Tap) -> str:
    frame = FakeFrame(buffer_size=50)
    async with frame.stream(Through(feed())) as results:
        async for record in results:
            if record == 20:
                break
    return settled(frame).ended_by


async def left_by_an_error(feed: Feed, tap: Tap) -> str:
    frame = FakeFrame(buffer_size=50)
    with pytest.raises(LookupError):
        async with frame.stream(Through(feed())) as results:
            await anext(results)
            raise LookupError
    return settled(frame).ended_by


async def frame_closed(feed: Feed, tap: Tap) -> str:
    async with FakeFrame(buffer_size=50) as frame:
        task = asyncio.ensure_future(frame.run(Through(feed())))
        await started(frame, tap)
    await task
    return settled(frame).ended_by


ENDINGS: dict[str, tuple[Ending, str]] = {
    "sink error": (sink_error, "failed"),
    "dead letter error": (dead_letter_error, "failed"),
    "too many failures": (too_many_failures, "failed"),
    "worker lost": (worker_lost, "failed"),
    "cancelled": (cancelled, "cancelled"),
    "stopped": (stopped, "stopped"),
    "left": (left, "stopped"),
    "left by an error": (left_by_an_error, "stopped"),
    "frame closed": (frame_closed, "stopped"),
}


@pytest.mark.virtual_clock
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", CLOSED.values(), ids=CLOSED)
async def test_an_endless_feed_on_the_loop_is_closed(form: Form, ending: str) -> None:
    tap = Tap()
    end, ended_by = ENDINGS[ending]
    assert await end(lambda: form(tap, None, 0.05), tap) == ended_by
    assert (tap.opened, tap.closed) == (1, 1)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_endless_feed_that_never_waits_is_closed(ending: str) -> None:
    tap = Tap()
    end, ended_by = ENDINGS[ending]
    assert await end(lambda: ON_LOOP["async generator"](tap, None, 0.0), tap) == ended_by
    assert (tap.opened, tap.closed) == (1, 1)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", ["generator", "chunks", "feed(bucket)"])
async def test_an_endless_feed_in_a_thread_is_closed(form: str, ending: str) -> None:
    tap = Tap()
    end, ended_by = ENDINGS[ending]
    assert await end(lambda: IN_THREAD[form](tap, None), tap) == ended_by
    assert (tap.opened, tap.closed) == (1, 1)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("form", CLOSED.values(), ids=CLOSED)
async def test_a_feed_is_closed_once_when_it_ends_by_itself_or_runs_dry(form: Form) -> None:
    tap = Tap()
    assert await exhausted(lambda: form(tap, 20, 0.05), tap) == "exhausted"
    assert (tap.opened, tap.closed) == (1, 1)
    frame = FakeFrame(buffer_size=50)
    await frame.run(Sunk(form(tap, None, 10.0)))
    assert settled(frame).ended_by == "idle"
    assert (tap.opened, tap.closed) == (2, 2)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("ending", ["cancelled", "stopped", "left", "left by an error", "sink error", "frame closed"])
async def test_a_feed_gets_seconds_to_clean_up_politely(ending: str) -> None:
    closed = []

    async def feed() -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(0.05)
        finally:
            await asyncio.sleep(3)  # says good-bye to a peer
            closed.append(number)

    await ENDINGS[ending][0](feed, Tap())
    assert len(closed) == 1


@pytest.mark.virtual_clock
@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_feed_that_never_has_cleaned_up_holds_a_run_up_for_seconds_only(ending: str) -> None:
    async def feed() -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(0.05)
        finally:
            await asyncio.sleep(100_000)

    with suppress(FeedError):
        await ENDINGS[ending][0](feed, Tap())
    assert now() < 15


@pytest.mark.virtual_clock
async def test_a_feed_whose_aclose_hangs_is_named() -> None:
    class Hanging:
        def __aiter__(self) -> Hanging:
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            await asyncio.get_running_loop().create_future()

    frame = FakeFrame(buffer_size=50)
    with pytest.raises(FeedError, match="did not close within 5 s"):
        await frame.run(Through(Hanging()))
    settled(frame)
    assert now() == pytest.approx(5)


async def swallows_once_then_ends(tap: Tap) -> AsyncIterator[int]:
    try:
        yield 0
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
    finally:
        tap.closed += 1


async def swallows_once_then_goes_on(tap: Tap) -> AsyncIterator[int]:
    try:
        yield 0
        number = 1
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        while True:
            yield number
            number += 1
    finally:
        tap.closed += 1


async def swallows_once_then_waits(tap: Tap) -> AsyncIterator[int]:
    try:
        yield 0
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(1000)
    finally:
        tap.closed += 1


async def raises_instead(tap: Tap) -> AsyncIterator[int]:
    try:
        yield 0
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise ConnectionError("interrupted") from None
    finally:
        tap.closed += 1


SWALLOWING = [swallows_once_then_ends, swallows_once_then_goes_on, swallows_once_then_waits]


@pytest.mark.virtual_clock
@pytest.mark.parametrize("feed", SWALLOWING)
@pytest.mark.parametrize("ending", ["stopped", "left", "cancelled", "idle", "frame closed"])
async def test_a_feed_that_swallows_a_cancel_is_closed_all_the_same(feed: Any, ending: str) -> None:
    tap, frame = Tap(), FakeFrame(drain_timeout=20.0)
    pipeline = Through(feed(tap), timeout=2.0 if ending == "idle" else None)
    if ending == "left":
        async with frame.stream(pipeline) as results:
            await anext(results)
    else:
        async with frame if ending == "frame closed" else nullcontext():
            task = asyncio.ensure_future(frame.run(pipeline))
            await asyncio.sleep(1)
        if ending == "stopped":
            frame.stop()
        elif ending == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() is (ending == "cancelled")
        assert task.cancelled() or task.exception() is None
    settled(frame)
    assert tap.closed == 1
    assert now() < 30


@pytest.mark.virtual_clock
async def test_a_feed_that_turns_its_cancel_into_an_error_is_blamed() -> None:
    tap, frame = Tap(), FakeFrame()
    task = asyncio.ensure_future(frame.run(Through(raises_instead(tap))))
    await asyncio.sleep(1)
    frame.stop()
    with pytest.raises(FeedError, match="ConnectionError: interrupted"):
        await task
    settled(frame)
    assert tap.closed == 1


@pytest.mark.virtual_clock
async def test_a_cancel_of_the_run_stays_a_cancel_when_the_feed_makes_an_error_of_it() -> None:
    tap, frame = Tap(), FakeFrame()
    task = asyncio.ensure_future(frame.run(Through(raises_instead(tap))))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    settled(frame)


@pytest.mark.virtual_clock
async def test_a_run_stopped_before_it_began_never_opens_its_feed() -> None:
    tap, frame = Tap(), FakeFrame()
    async with frame.stream(Through(ON_LOOP["async generator"](tap, None, 0.0))):
        frame.made[-1].stop()
    assert settled(frame).fed == 0
    assert tap.opened == tap.closed == 0


async def test_a_feeds_thread_that_is_blocked_is_left_behind_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    may_end = threading.Event()

    def feed() -> Iterator[int]:
        yield 0
        may_end.wait()

    frame = FakeFrame(buffer_size=50)
    async with frame.stream(Through(feed)) as results:
        await anext(results)
    settled(frame)
    may_end.set()
    assert "left behind" in caplog.text


async def test_the_feed_of_a_blocked_bucket_is_ended_when_the_run_is() -> None:
    ended = threading.Event()

    def feed(bucket: Any) -> None:
        try:
            with suppress(Exception):  # a feed that catches everything it should
                while True:
                    bucket.put(1)
        finally:
            ended.set()

    frame = FakeFrame(buffer_size=1)
    async with frame.stream(Through(feed)) as results:
        await anext(results)
    settled(frame)
    assert ended.is_set()
