"""Never more between feed and consumer than the buffer holds: in records for every form of feed, and in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import Chunk
from pipeframe_async.testing import FakeExecutor, run_virtual
from tests.engine.feeds import IN_THREAD, ON_LOOP, Form, chunked, generated_chunks
from tests.engine.harness import FakeFrame, Sunk, Tap, Through, failing, passing, settled

SIZES = [1, 2, 7, 100]


def at_once(number: int, records: int) -> float:
    return 0.0


async def consumed(frame: FakeFrame, feed: Any, tap: Tap, pause: float = 0.0) -> list[Any]:
    """Iterate a stream, telling the tap of each record, with a pause before every fifth."""
    taken = []
    async with frame.stream(Through(feed)) as results:
        async for record in results:
            tap.taken += 1
            taken.append(record)
            if pause and record % 5 == 0:
                await asyncio.sleep(pause)
    return taken


@pytest.mark.virtual_clock
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["fast consumer", "slow consumer"])
@pytest.mark.parametrize("form", ON_LOOP.values(), ids=ON_LOOP)
async def test_a_feed_on_the_loop_is_never_further_ahead_than_the_buffer(form: Form, size: int, pause: float) -> None:
    tap, frame = Tap(), FakeFrame(FakeExecutor(delay=lambda number, records: 0.01), buffer_size=size)
    assert await consumed(frame, form(tap, 300, 0.0), tap, pause) == list(range(300))
    settled(frame)
    if form is not chunked:  # what is handed over at once cannot be asked for one by one
        assert tap.most <= size
    if pause:
        assert frame.made[-1].organs.books.ledger.peak_in_flight == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", IN_THREAD.values(), ids=IN_THREAD)
async def test_a_feed_in_a_thread_is_never_further_ahead_than_the_buffer(form: Any, size: int) -> None:
    tap, frame = Tap(), FakeFrame(FakeExecutor(delay=at_once), buffer_size=size)
    assert await consumed(frame, form(tap, 200), tap) == list(range(200))
    settled(frame)
    if form is not generated_chunks:
        assert tap.most <= size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", IN_THREAD.values(), ids=IN_THREAD)
async def test_a_feed_in_a_thread_waits_for_a_consumer_that_takes_nothing(form: Any, size: int) -> None:
    tap, frame = Tap(), FakeFrame(buffer_size=size)
    async with frame.stream(Through(form(tap, None))) as results:
        assert await anext(results) == 0
        tap.taken = 1
        while frame.stats().in_flight < size:
            await asyncio.sleep(0)
        for _ in range(200):  # chances for the feed's thread to go too far
            await asyncio.sleep(0)
        assert frame.stats().in_flight == size
        if form is not generated_chunks:
            # The first batch keeps its permits until its last result is taken.
            assert tap.most <= size
    settled(frame)
    assert tap.closed == 1


@pytest.mark.virtual_clock
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", ["stream", "batch"])
async def test_chunks_larger_than_the_buffer_are_taken_in_parts(size: int, source: str) -> None:
    async def feed() -> AsyncIterator[Chunk[int]]:
        yield Chunk(range(1000))
        yield Chunk(range(1000, 1010))

    frame, pipeline = FakeFrame(buffer_size=size), Sunk(feed, source=source)
    await frame.run(pipeline)
    assert pipeline.taken == list(range(1010))
    settled(frame)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("size", SIZES)
async def test_a_fixed_batch_larger_than_the_buffer_goes_when_the_buffer_is_full(size: int) -> None:
    frame, pipeline = FakeFrame(buffer_size=size), Sunk(ON_LOOP["async generator"](Tap(), 50, 0.0), batch_size=1000)
    await frame.run(pipeline)
    assert pipeline.taken == list(range(50))
    settled(frame)


def thousandfold(record: bytes) -> tuple[bytes, bool]:
    return record * 1000, True


async def blobs(sizes: list[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)


def of_sizes(sizes: list[int]) -> Any:
    return lambda: blobs(sizes)


OVERHEAD = 100
"""Bytes that the pickle of a list of small records may have beyond their own."""


@settings(max_examples=80)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 10, 100, 900, 1000, 5000]), max_size=60),
    lanes=st.integers(1, 3),
    source=st.sampled_from(["stream", "batch"]),
    buffer_size=st.sampled_from([1, 3, 50]),
    ship=st.booleans(),
)
def test_bytes_in_flight_stay_within_the_buffer_and_what_cannot_fit_goes_alone(
    sizes: list[int], lanes: int, source: str, buffer_size: int, ship: bool
) -> None:
    async def main() -> None:
        dead: list[Any] = []
        executor = FakeExecutor(lanes, delay=lambda number, records: 0.1)
        frame = FakeFrame(executor, buffer_size=buffer_size, buffer_bytes=2000)
        pipeline = (Sunk if ship else Through)(of_sizes(sizes), source=source, dead_letter=dead.extend)
        await frame.run(pipeline)
        report = settled(frame)
        assert (report.delivered, report.failed, dead) == (len(sizes), 0, [])
        if ship:
            assert [len(record) for record in pipeline.taken] == sizes
        assert frame.made[-1].organs.books.ledger.peak_bytes <= max([2000, *sizes]) + OVERHEAD

    run_virtual(main)


@pytest.mark.virtual_clock
async def test_a_record_of_exactly_the_buffers_bytes_passes() -> None:
    sizes = [100_000] * 5
    frame, pipeline = FakeFrame(buffer_bytes=100_000 + OVERHEAD), Sunk(of_sizes(sizes))
    await frame.run(pipeline)
    assert [len(record) for record in pipeline.taken] == sizes
    settled(frame)


@pytest.mark.virtual_clock
async def test_results_that_outgrow_the_buffer_are_not_followed_by_more_until_they_are_taken() -> None:
    frame = FakeFrame(buffer_bytes=50_000)
    async with frame.stream(Through(of_sizes([100] * 100), steps=(thousandfold,))) as results:
        taken = 0
        async for record in results:
            assert len(record) == 100_000
            taken += 1
            await asyncio.sleep(1)
            # Each lane may learn from one result that they are larger than the buffer.
            assert frame.stats().in_flight_bytes <= 2 * len(frame.executor.lanes) * 110_000
    assert taken == 100
    settled(frame)


@pytest.mark.virtual_clock
async def test_failures_free_the_bytes_they_held() -> None:
    frame = FakeFrame(buffer_bytes=3000)
    report = await frame.run(Through(of_sizes([1000] * 50), steps=(failing,), max_failures=None))
    assert report.failed == 50
    settled(frame)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("bad", [0, 3, 19])
async def test_a_record_that_does_not_pickle_fails_alone(bad: int) -> None:
    dead: list[Any] = []

    async def feed() -> AsyncIterator[Any]:
        for number in range(20):
            yield (lambda: None) if number == bad else number

    frame, pipeline = FakeFrame(buffer_size=6), Sunk(feed, dead_letter=dead.extend, steps=(passing,))
    report = await frame.run(pipeline)
    assert pipeline.taken == [number for number in range(20) if number != bad]
    assert [(failure.kind, failure.step) for failure in dead] == [("unpicklable", "passing")]
    assert callable(dead[0].record)
    assert (report.fed, report.failed) == (20, 1)
    settled(frame)
