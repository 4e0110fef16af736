"""A batch source: the feed first, whole, whatever the buffer holds; then the steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import Chunk, FeedError
from pipeframe_async._engine.feeding.spill import Spill
from pipeframe_async.executors.packing import Packing
from pipeframe_async.testing import FakeExecutor, run_virtual
from pipeframe_async.wire import Reply
from tests.engine.feeds import IN_THREAD, ON_LOOP, Form
from tests.engine.harness import Answers, FakeFrame, Sunk, Tap, Through, balanced, settled


def watching(tap: Tap, seen: set[int]) -> Any:
    def step(record: int) -> tuple[int, bool]:
        seen.add(tap.handed)
        return record, True

    return step


@pytest.mark.virtual_clock
@pytest.mark.parametrize("form", ON_LOOP.values(), ids=ON_LOOP)
async def test_no_step_runs_before_the_feed_on_the_loop_has_ended(form: Form) -> None:
    tap, seen = Tap(), set[int]()
    frame, pipeline = FakeFrame(buffer_size=10), Sunk(form(tap, 100, 0.01), source="batch")
    pipeline.steps = (watching(tap, seen),)
    await frame.run(pipeline)
    assert (pipeline.taken, seen) == (list(range(100)), {100})
    settled(frame)


@pytest.mark.parametrize("form", IN_THREAD.values(), ids=IN_THREAD)
async def test_no_step_runs_before_the_feed_in_a_thread_has_ended(form: Any) -> None:
    tap, seen = Tap(), set[int]()
    frame, pipeline = FakeFrame(buffer_size=10), Sunk(form(tap, 100), source="batch")
    pipeline.steps = (watching(tap, seen),)
    await frame.run(pipeline)
    assert (pipeline.taken, seen) == (list(range(100)), {100})
    settled(frame)


@settings(max_examples=60)
@given(
    chunks=st.lists(st.lists(st.integers(0, 9), max_size=30), max_size=12),
    size=st.integers(1, 20),
    lanes=st.integers(1, 3),
    batch_size=st.sampled_from([None, 1, 4, 1000]),
    streaming=st.booleans(),
)
def test_order_is_kept_and_only_what_does_not_pickle_fails(
    chunks: list[list[int]], size: int, lanes: int, batch_size: int | None, streaming: bool
) -> None:
    records = [record for chunk in chunks for record in chunk]

    async def feed() -> AsyncIterator[Any]:
        for chunk in chunks:
            made = [(lambda: 3) if record == 3 else record for record in chunk]
            yield Chunk(made) if len(chunk) != 1 else made[0]

    async def main() -> None:
        dead: list[Any] = []
        frame = FakeFrame(FakeExecutor(lanes, delay=lambda number, records: (number * 7 % 5) / 10), buffer_size=size)
        pipeline = Sunk(feed, source="batch", batch_size=batch_size, dead_letter=dead.extend)
        if streaming:
            async with frame.stream(pipeline) as results:
                pipeline.taken = [record async for record in results]
        else:
            await frame.run(pipeline)
        report = settled(frame)
        assert pipeline.taken == [record for record in records if record != 3]
        assert [(failure.kind, failure.record()) for failure in dead] == [("unpicklable", 3)] * records.count(3)
        assert (report.fed, report.failed) == (len(records), records.count(3))

    run_virtual(main)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("after", [0, 3, 10, 200])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_feed_that_fails_has_run_no_step(after: int, chunked: bool) -> None:
    async def feed() -> AsyncIterator[Any]:
        if chunked:
            yield Chunk(range(after))
        else:
            for number in range(after):
                yield number
        raise OSError("torn")

    tap, seen = Tap(), set[int]()
    frame, pipeline = FakeFrame(buffer_size=10), Sunk(feed, source="batch")
    pipeline.steps = (watching(tap, seen),)
    with pytest.raises(FeedError, match="OSError: torn"):
        await frame.run(pipeline)
    report = settled(frame)
    assert (seen, pipeline.taken, frame.executor.batches) == (set(), [], [])
    assert (report.fed, report.aborted, report.ended_by) == (after, after, "failed")


@pytest.mark.virtual_clock
async def test_what_has_been_collected_when_it_is_stopped_is_processed() -> None:
    frame, pipeline = FakeFrame(buffer_size=10), Sunk(ON_LOOP["async generator"](Tap(), None, 0.1), source="batch")
    task = asyncio.ensure_future(frame.run(pipeline))
    await asyncio.sleep(10)
    frame.stop()
    report = await task
    assert (report.ended_by, report.aborted) == ("stopped", 0)
    assert pipeline.taken == list(range(report.fed))
    assert report.fed >= 99
    settled(frame)


@pytest.mark.virtual_clock
async def test_a_cancel_while_it_collects_has_run_no_step() -> None:
    frame, pipeline = FakeFrame(buffer_size=10), Sunk(ON_LOOP["async generator"](Tap(), None, 0.1), source="batch")
    task = asyncio.ensure_future(frame.run(pipeline))
    await asyncio.sleep(10)
    task.cancel()
    await asyncio.wait([task])
    report = settled(frame)
    assert (report.ended_by, report.fed, frame.executor.batches) == ("cancelled", report.aborted, [])


@pytest.mark.virtual_clock
async def test_the_books_show_what_is_on_disk() -> None:
    frame, spilled = FakeFrame(buffer_size=10), []

    async def feed() -> AsyncIterator[int]:
        for number in range(50):
            yield number
            stats = frame.stats()
            spilled.append(stats.spilled)
            assert stats.in_flight + stats.spilled == stats.fed <= number + 1

    pipeline = Sunk(feed, source="batch")
    report = await frame.run(pipeline)
    assert max(spilled) >= 38
    assert balanced(report)
    assert frame.stats().spilled == 0
    settled(frame)


@pytest.mark.virtual_clock
async def test_each_delivery_is_answered_once_though_its_record_went_through_a_file() -> None:
    answers = Answers()

    def step(record: int) -> tuple[int, bool]:
        return record // (record % 5), True

    async def feed() -> AsyncIterator[Any]:
        for number in range(30):
            yield answers.delivery(number)
        yield Chunk([answers.delivery(number) for number in range(30, 100)])

    frame = FakeFrame(buffer_size=7)
    pipeline = Sunk(feed, source="batch", max_failures=None, steps=(step,))
    await frame.run(pipeline)
    assert answers.acked == [number for number in range(100) if number % 5]
    assert answers.nacked == [number for number in range(100) if number % 5 == 0]
    assert {failure and failure.error_type for failure in answers.failures} == {"ZeroDivisionError"}
    settled(frame)


@pytest.mark.virtual_clock
async def test_a_stream_of_a_spilled_batch_may_be_left_early() -> None:
    frame = FakeFrame(buffer_size=10)
    async with frame.stream(Through(ON_LOOP["chunks"](Tap(), 1000, 0.0), source="batch")) as results:
        taken = [await anext(results) for _ in range(25)]
    report = settled(frame)
    assert taken == list(range(25))
    assert (report.fed, report.delivered, report.aborted) == (1000, 25, 975)


# The file by itself.


def a_spill(most_bytes: int = 10_000) -> Spill:
    return Spill(Packing(), "first", most_bytes)


def taken(spill: Spill, records: int, room_bytes: int = 2**20) -> list[Any]:
    packed, _ = spill.take(records, room_bytes)
    return Packing().unpack(Reply(packed.records, results=packed.data), "first")[0]


def test_records_come_back_in_the_order_they_were_put() -> None:
    spill = a_spill()
    for record in range(5):
        spill.put(record)
    assert len(spill) == 5
    assert (taken(spill, 2), taken(spill, 9), len(spill)) == ([0, 1], [2, 3, 4], 0)
    spill.close()


def test_no_more_bytes_come_back_than_there_is_room_for_and_the_next_waits() -> None:
    spill = a_spill()
    for size in (100, 100, 1000):
        spill.put(bytes(size))
    assert [len(record) for record in taken(spill, 9, 400)] == [100, 100]
    assert taken(spill, 9, 400) == []
    assert [len(record) for record in taken(spill, 9, 1400)] == [1000]
    spill.close()


def test_a_record_without_bytes_is_an_empty_frame_and_a_failure_at_its_place() -> None:
    spill = a_spill()
    for record in (1, lambda: None, 3):
        spill.put(record)
    packed, failures = spill.take(9, 2**20)
    assert packed.records == 3
    assert [(place, failure.kind, failure.step) for place, failure in failures.items()] == [(1, "unpicklable", "first")]
    spill.close()


def test_a_record_larger_than_the_whole_buffer_takes_no_disk() -> None:
    spill = a_spill(most_bytes=1000)
    spill.put(bytes(5000))
    packed, failures = spill.take(1, 0)
    assert (packed.nbytes, failures[0].error_type) == (0, "ConfigError")
    spill.close()


def test_what_was_never_written_can_be_closed_and_closing_forgets_what_was() -> None:
    spill = a_spill()
    spill.close()
    spill.put(1)
    spill.close()
    assert len(spill) == 0
