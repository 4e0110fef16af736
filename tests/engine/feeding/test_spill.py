"""A batch source: the feed first, whole, whatever the buffer holds; then the steps."""

from __future__ import annotations

import asyncio
import errno
import tempfile
import threading
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import Chunk, FeedError
from pipeframe_async._engine.feeding.spill import BLOCK_BYTES, Spill, _Block
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


class Shelved:
    """A spill with records in it; `moves` counts what its thread has moved."""

    def __init__(self, *records: Any) -> None:
        self.moves = 0
        self.spill = Spill(Packing(), "first", self._moved)
        for record in records:
            self.spill.put(record)

    def _moved(self) -> None:
        self.moves += 1

    async def taken(self, records: int, room_bytes: int = 2**30, *, alone: bool = False) -> list[Any]:
        """What is taken; read first where it must be."""
        packed, _ = self.spill.take(records, room_bytes, alone=alone)
        while not packed.records and self.spill.moving:
            moves = self.moves
            while self.moves == moves:
                await asyncio.sleep(0.001)
            packed, _ = self.spill.take(records, room_bytes, alone=alone)
        return Packing().unpack(Reply(packed.records, results=packed.data), "first")[0]


@pytest.mark.parametrize("blocks", [0, 1, 3])
async def test_records_come_back_in_the_order_they_were_put(blocks: int) -> None:
    shelved = Shelved()
    for block in range(blocks):
        shelved.spill.put(block)
        shelved.spill.put(None)
        await shelved.spill.write()
    for record in (7, 8, 9):  # and these are never written
        shelved.spill.put(record)
    assert len(shelved.spill) == 2 * blocks + 3
    expected = [part for block in range(blocks) for part in (block, None)] + [7, 8, 9]
    got: list[Any] = []
    while len(shelved.spill):
        got += await shelved.taken(2)
    assert got == expected
    shelved.spill.close()


async def test_what_is_less_than_a_block_takes_no_file() -> None:
    shelved = Shelved(1, 2)
    assert not shelved.spill.full
    assert shelved.spill.take(9, 1000)[0].records == 2
    shelved.spill.put(bytes(2 * BLOCK_BYTES))
    assert shelved.spill.full
    shelved.spill.close()


async def test_a_block_is_read_while_the_last_one_is_worked_on() -> None:
    shelved = Shelved(1)
    await shelved.spill.write()
    shelved.spill.put(2)
    await shelved.spill.write()
    shelved.spill.put(3)
    assert await shelved.taken(9) == [1]
    assert shelved.spill.moving
    assert await shelved.taken(9) == [2]
    assert await shelved.taken(9) == [3]  # not before what is on its way from the disk
    shelved.spill.close()


@pytest.mark.parametrize("written", [False, True])
async def test_no_more_bytes_come_back_than_there_is_room_for_and_the_next_waits(written: bool) -> None:
    shelved = Shelved(bytes(100), bytes(100), bytes(1000), bytes(1000))
    if written:
        await shelved.spill.write()
    assert [len(record) for record in await shelved.taken(9, 400)] == [100, 100]
    assert await shelved.taken(9, 400) == []
    assert [len(record) for record in await shelved.taken(9, 1400)] == [1000]
    assert [len(record) for record in await shelved.taken(9, 0, alone=True)] == [1000]
    shelved.spill.close()


async def test_alone_it_may_be_of_any_size_and_what_has_room_behind_it_goes_along() -> None:
    shelved = Shelved(bytes(100), bytes(100), bytes(1000))
    assert [len(record) for record in await shelved.taken(9, 400, alone=True)] == [100, 100]
    shelved.spill.close()


@pytest.mark.parametrize("written", [False, True])
async def test_a_record_without_bytes_is_an_empty_frame_and_a_failure_at_its_place(written: bool) -> None:
    shelved = Shelved(1, lambda: None, 3, lambda: None)
    if written:
        await shelved.spill.write()
        shelved.spill.take(9, 2**20)
        while not shelved.moves > 1:
            await asyncio.sleep(0.001)
    packed, failures = shelved.spill.take(3, 2**20)
    assert packed.records == 3
    assert [(place, failure.kind, failure.step) for place, failure in failures.items()] == [(1, "unpicklable", "first")]
    packed, failures = shelved.spill.take(3, 2**20)
    assert (packed.records, list(failures)) == (1, [0])
    shelved.spill.close()


async def test_a_file_that_cannot_be_written_says_where_it_is_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    shelved = Shelved(1)
    with pytest.raises(FeedError, match=r"No space left on device.* TMPDIR, .*buffer_bytes"):
        await shelved.spill.write()
    with pytest.raises(FeedError, match="No space"):
        shelved.spill.take(1, 100)
    shelved.spill.close()


async def test_a_file_that_cannot_be_read_is_said_to_whoever_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    shelved = Shelved(1)
    await shelved.spill.write()
    monkeypatch.setattr(_Block, "read", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    with pytest.raises(FeedError, match="Input/output error"):
        await shelved.taken(1)
    shelved.spill.close()


async def test_a_cancel_of_who_writes_leaves_what_it_writes_whole() -> None:
    shelved = Shelved(1)
    writing = asyncio.ensure_future(shelved.spill.write())
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    shelved.spill.put(2)
    assert await shelved.taken(9) + await shelved.taken(9) == [1, 2]
    shelved.spill.close()


async def test_closed_while_its_thread_is_at_work_the_file_is_closed_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, files = threading.Event(), threading.Event(), list[Any]()

    def slow(block: _Block, file: Any) -> None:
        files.append(file)
        begun.set()
        go_on.wait()

    monkeypatch.setattr(_Block, "write", slow)
    shelved = Shelved(1)
    writing = asyncio.ensure_future(shelved.spill.write())
    while not begun.is_set():
        await asyncio.sleep(0.001)
    shelved.spill.close()
    assert not files[0].closed
    go_on.set()
    await writing
    while not files[0].closed:
        await asyncio.sleep(0.001)
    assert len(shelved.spill) == 0


def test_what_was_never_written_can_be_closed_and_closing_forgets_what_was() -> None:
    spill = Shelved().spill
    spill.close()
    spill.put(1)
    spill.close()
    assert len(spill) == 0
