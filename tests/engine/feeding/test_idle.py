"""The idle timer: a stream that has dried ends in time, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async._engine.feeding.idle import IdleTimer
from pipeframe_async.testing import FakeExecutor, run_virtual
from tests.engine.feeds import ON_LOOP, Form
from tests.engine.harness import FakeFrame, Sunk, Tap, Through, now, settled

pytestmark = pytest.mark.virtual_clock


@pytest.mark.parametrize("timeout", [0.5, 2, 1000])
@pytest.mark.parametrize("form", ON_LOOP.values(), ids=ON_LOOP)
async def test_a_dried_stream_ends_in_time(form: Form, timeout: float) -> None:
    frame, pipeline = FakeFrame(), Sunk(form(Tap(), None, timeout * 3), timeout=timeout)
    await frame.run(pipeline)
    assert settled(frame).ended_by == "idle"
    assert pipeline.taken[0] == 0
    assert timeout <= now() <= 1.125 * timeout + 0.1  # the feeds take a little to close


async def test_a_stream_that_never_gives_anything_ends_in_time() -> None:
    async def feed() -> AsyncIterator[int]:
        await asyncio.sleep(3000)
        yield 1

    frame = FakeFrame()
    await frame.run(Through(feed, timeout=7))
    assert settled(frame).ended_by == "idle"
    assert 7 <= now() <= 1.125 * 7


@settings(max_examples=50)
@given(pauses=st.lists(st.floats(0, 1.999), max_size=30), timeout=st.sampled_from([2.0, 2.5]))
def test_the_end_is_counted_from_the_last_record(pauses: list[float], timeout: float) -> None:
    async def main() -> None:
        async def feed() -> AsyncIterator[int]:
            for number, pause in enumerate(pauses):
                await asyncio.sleep(pause)
                yield number
            await asyncio.sleep(3000)

        frame, pipeline = FakeFrame(), Sunk(feed, timeout=timeout)
        await frame.run(pipeline)
        assert pipeline.taken == list(range(len(pauses)))
        assert settled(frame).ended_by == "idle"
        assert sum(pauses) + timeout - 1e-6 <= now() <= sum(pauses) + 1.125 * timeout

    run_virtual(main)


@pytest.mark.parametrize("form", ON_LOOP.values(), ids=ON_LOOP)
async def test_pauses_shorter_than_the_timeout_lose_nothing(form: Form) -> None:
    frame, pipeline = FakeFrame(), Sunk(form(Tap(), 100, 1.9))  # and the feeds take a little to close
    await frame.run(pipeline)
    assert pipeline.taken == list(range(100))
    assert settled(frame).ended_by == "exhausted"


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("form", ON_LOOP.values(), ids=ON_LOOP)
async def test_a_consumer_that_takes_minutes_does_not_dry_a_stream(form: Form, size: int) -> None:
    frame, taken = FakeFrame(buffer_size=size), []
    async with frame.stream(Through(form(Tap(), 20, 0.0), timeout=0.5)) as results:
        async for record in results:
            taken.append(record)
            await asyncio.sleep(100)
    assert taken == list(range(20))
    assert settled(frame).ended_by == "exhausted"


async def test_workers_that_take_minutes_do_not_dry_a_stream() -> None:
    frame = FakeFrame(FakeExecutor(1, delay=lambda number, records: 200.0), buffer_size=2)
    pipeline = Sunk(ON_LOOP["async generator"](Tap(), 10, 0.0), timeout=0.5)
    await frame.run(pipeline)
    assert pipeline.taken == list(range(10))
    assert settled(frame).ended_by == "exhausted"


async def test_what_is_in_flight_when_a_stream_dries_is_delivered() -> None:
    frame = FakeFrame(FakeExecutor(delay=lambda number, records: 500.0), drain_timeout=1.0)
    pipeline = Sunk(ON_LOOP["async generator"](Tap(), None, 50.0), timeout=10)
    await frame.run(pipeline)
    report = settled(frame)
    # It is asked for no more, and closed when all is done: what it still gives until then is not lost.
    assert (report.ended_by, report.fed, pipeline.taken) == ("idle", 2, [0, 1])


async def test_the_timer_counts_anew_when_there_is_room_again() -> None:
    async def feed() -> AsyncIterator[int]:
        yield 0
        yield 1
        await asyncio.sleep(1.9)  # after the buffer had been full for 100 seconds
        yield 2

    frame = FakeFrame(FakeExecutor(1, delay=lambda number, records: 100.0), buffer_size=1)
    pipeline = Sunk(feed)
    await frame.run(pipeline)
    assert pipeline.taken == [0, 1, 2]
    assert settled(frame).ended_by == "exhausted"


async def test_a_batch_feed_never_runs_dry() -> None:
    frame, pipeline = FakeFrame(), Sunk(ON_LOOP["async generator"](Tap(), 3, 100.0), source="batch")
    await frame.run(pipeline)
    assert pipeline.taken == [0, 1, 2]
    assert settled(frame).ended_by == "exhausted"


async def test_none_waits_for_ever() -> None:
    frame, pipeline = FakeFrame(), Sunk(ON_LOOP["async generator"](Tap(), 3, 1000.0), timeout=None)
    await frame.run(pipeline)
    assert pipeline.taken == [0, 1, 2]
    assert settled(frame).ended_by == "exhausted"


def from_queue(queue: asyncio.Queue[int]) -> dict[str, Any]:
    async def generator() -> AsyncIterator[int]:
        while True:
            yield await queue.get()

    async def bucket(bucket: Any) -> None:
        while True:
            await bucket.put(await queue.get())

    class Ticker:
        def __aiter__(self) -> Ticker:
            return self

        async def __anext__(self) -> int:
            return await queue.get()

    return {"async generator": generator, "async feed(bucket)": bucket, "async iterator": Ticker()}


@pytest.mark.parametrize("form", ["async generator", "async feed(bucket)", "async iterator"])
@pytest.mark.parametrize("shift", [-1e-9, 0.0, 1e-9])
def test_a_record_that_arrives_at_the_deadline_is_delivered_or_still_in_the_queue(form: str, shift: float) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        put = [0]
        queue.put_nowait(0)

        def arrive(record: int) -> None:
            put.append(record)
            queue.put_nowait(record)

        frame, pipeline = FakeFrame(FakeExecutor(delay=lambda number, records: 0.0)), Sunk(from_queue(queue)[form])
        task = asyncio.ensure_future(frame.run(pipeline))
        loop.call_at(2.0 + shift, arrive, 1)
        loop.call_at(4.0 + shift, arrive, 2)
        await asyncio.wait([task])
        left = [queue.get_nowait() for _ in range(queue.qsize())]
        assert task.result().ended_by == "idle"
        assert [*pipeline.taken, *left] == put
        settled(frame)

    for seed in (None, *range(10)):
        run_virtual(main, seed=seed)


async def test_timers_are_armed_once_a_timeout_and_not_per_record(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, armed = asyncio.get_running_loop(), 0
    call_at = loop.call_at

    def counted(when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
        nonlocal armed
        armed += isinstance(getattr(callback, "__self__", None), IdleTimer)
        return call_at(when, callback, *args, **options)

    monkeypatch.setattr(loop, "call_at", counted)
    frame, pipeline = FakeFrame(), Sunk(ON_LOOP["async generator"](Tap(), 2000, 0.01), timeout=5)
    await frame.run(pipeline)
    assert pipeline.taken == list(range(2000))
    assert 20 < now() < 21
    assert 1 <= armed <= 10
