"""Feeds: the bound on records and bytes, the idle timer, batch sources, and that feeds are always closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from pipeframe_async import Chunk, Delivery, FeedError, PipelineFailed, SinkError, WorkerLost
from pipeframe_async.stats import SourceCounts
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Answers, Kept, Stream, a_run, balanced, watched

pytestmark = pytest.mark.virtual_clock

SIZES = [1, 2, 7, 100]


@pytest.mark.parametrize("buffer_size", SIZES)
@pytest.mark.parametrize("chunked", [False, True])
async def test_never_more_records_than_the_buffer_holds_are_between_feed_and_sink(
    buffer_size: int, chunked: bool
) -> None:
    most = 0

    class Counting(Kept):
        async def feed(self) -> AsyncIterator[Any]:
            nonlocal most
            for start in range(0, 500, 50):
                if chunked:
                    yield Chunk(range(start, start + 50))
                    continue
                for record in range(start, start + 50):
                    self.fed.append(record)
                    most = max(most, len(self.fed) - len(self.taken))
                    yield record

    pipeline = Counting(slow=0.01)
    run = a_run(pipeline, buffer_size=buffer_size)
    report = await watched(run)
    assert pipeline.taken == list(range(500))
    assert report.delivered == 500
    assert run.organs.books.ledger.peak_in_flight == buffer_size
    assert most <= buffer_size + 1  # the one that is being handed over is the feed's


async def test_never_more_bytes_than_the_buffer_holds_are_in_flight() -> None:
    records = [bytes(size) for size in [10, 3000, 20, 900, 5000, 1, 8000, 2, 2, 7000] * 10]
    pipeline = Kept(records, slow=0.05)
    run = a_run(pipeline, buffer_bytes=10_000)
    report = await watched(run)
    assert pipeline.taken == records
    assert report.delivered == 100
    assert (
        run.organs.books.ledger.peak_bytes <= 10_000 + 200
    )  # a reply's pickle may be a little longer than the batch's


@pytest.mark.parametrize("source", ["stream", "batch"])
async def test_a_record_larger_than_the_whole_buffer_goes_alone(source: Any) -> None:
    pipeline = Kept([b"a", bytes(5000), b"b", bytes(5000), b"c"])
    pipeline.source = source
    report = await watched(a_run(pipeline, buffer_size=2, buffer_bytes=1000))
    assert [len(record) for record in pipeline.taken] == [1, 5000, 1, 5000, 1]
    assert (report.failed, pipeline.dead) == (0, [])


class Growing:
    """A source that is asked: small records, then large ones."""

    live = True
    lease = None
    counts = SourceCounts

    def __init__(self, *sizes: int) -> None:
        self.left = [bytes(size) for size in sizes]

    async def take(self, room: int) -> list[Delivery[bytes]] | None:
        taken, self.left = self.left[:room], self.left[room:]
        return [Delivery(record) for record in taken] or None


@pytest.mark.parametrize("small", [25, 30, 35])
async def test_records_that_turn_out_large_while_room_is_waited_for_hold_nobody_up(small: int) -> None:
    """A quarter of the buffer is waited for, and as soon as the large ones are known there may never be as much."""
    pipeline = Kept(slow=0.05)
    pipeline.source = "stream"
    pipeline.feed = Growing(*[100_000] * small, *[4_000_000] * 40)  # type: ignore[method-assign, assignment]
    report = await watched(a_run(pipeline, buffer_size=40))
    assert (report.delivered, report.ended_by) == (small + 40, "exhausted")


async def test_a_stream_ends_when_nothing_came_for_the_timeout() -> None:
    pipeline = Kept([1, 2, 3, 1000.0])
    pipeline.timeout = 5.0
    loop = asyncio.get_running_loop()
    report = await a_run(pipeline).execute()
    assert 5.0 <= loop.time() < 5.1
    assert (report.ended_by, report.delivered, pipeline.closed) == ("idle", 3, 1)


async def test_a_feed_that_pauses_for_less_than_the_timeout_loses_nothing() -> None:
    script = [item for i in range(50) for item in (i, 4.9)]
    pipeline = Kept(script)
    pipeline.timeout = 5.0
    report = await a_run(pipeline).execute()
    assert pipeline.taken == list(range(50))
    assert report.ended_by == "exhausted"


async def test_waiting_for_a_slow_sink_is_not_idleness() -> None:
    pipeline = Kept(range(20), slow=100.0)
    pipeline.timeout = 1.0
    report = await a_run(pipeline, buffer_size=2).execute()
    assert pipeline.taken == list(range(20))
    assert report.ended_by == "exhausted"


async def test_a_stream_without_a_timeout_waits_for_as_long_as_it_takes() -> None:
    pipeline = Kept([1, 3000.0, 2])
    report = await a_run(pipeline).execute()
    assert (pipeline.taken, report.ended_by) == ([1, 2], "exhausted")


async def test_a_record_that_comes_at_the_deadline_is_delivered_or_never_handed_over() -> None:
    for pause in (0.999999, 1.0, 1.000001):
        pipeline = Kept([1, pause, 2])
        pipeline.timeout = 1.0
        report = await a_run(pipeline).execute()
        assert pipeline.taken == pipeline.fed
        assert report.fed == len(pipeline.fed)


async def test_no_timer_is_armed_per_record(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    armed = 0
    call_at = loop.call_at

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal armed
        armed += 1
        return call_at(*args, **kwargs)

    monkeypatch.setattr(loop, "call_at", counted)
    pipeline = Stream(range(20_000))
    pipeline.timeout = 10.0
    executor = FakeExecutor(delay=lambda number, records: 0.0)
    await a_run(pipeline, executor, buffer_size=10_000).execute()
    assert armed < 100 + 2 * len(executor.batches)


async def test_a_batch_feed_runs_to_its_end_before_the_first_step() -> None:
    seen: list[int] = []

    def step(record: int) -> tuple[int, bool]:
        seen.append(len(pipeline.fed))
        return record, True

    pipeline = Kept(range(1000))
    pipeline.source = "batch"
    pipeline.steps = (step,)
    run = a_run(pipeline, buffer_size=10)
    report = await watched(run)
    assert set(seen) == {1000}
    assert pipeline.taken == list(range(1000))
    assert (report.delivered, run.organs.books.ledger.peak_in_flight) == (1000, 10)


async def test_an_unpicklable_record_among_the_spilled_fails_alone_and_in_its_place() -> None:
    bad = lambda: None  # noqa: E731
    pipeline = Kept([*range(20), bad, *range(20, 40)])
    pipeline.source = "batch"
    await watched(a_run(pipeline, buffer_size=5))
    assert pipeline.taken == list(range(40))
    assert [(f.record, f.kind) for f in pipeline.dead] == [(bad, "unpicklable")]


@pytest.mark.parametrize("fed", [0, 3, 50])
async def test_a_batch_whose_feed_failed_has_run_no_step(fed: int) -> None:
    class Torn(Kept):
        async def feed(self) -> AsyncIterator[int]:
            for i in range(fed):
                yield i
            raise OSError("torn")

    pipeline = Torn()
    pipeline.source = "batch"
    executor = FakeExecutor()
    with pytest.raises(FeedError, match="OSError: torn") as caught:
        await watched(a_run(pipeline, executor, buffer_size=10))
    assert executor.batches == []
    assert caught.value.report is not None
    assert (caught.value.report.fed, caught.value.report.aborted) == (fed, fed)


async def test_a_feed_that_cancels_itself_is_a_feed_error_and_no_cancel() -> None:
    class Foreign(Kept):
        async def feed(self) -> AsyncIterator[int]:
            yield 1
            raise asyncio.CancelledError("somebody else's")

    pipeline = Foreign()
    with pytest.raises(FeedError, match="CancelledError"):
        await a_run(pipeline).execute()
    assert pipeline.taken == [1]


async def test_a_feed_that_swallows_the_cancel_of_a_stop_is_closed_all_the_same() -> None:
    class Stubborn(Kept):
        async def feed(self) -> AsyncIterator[int]:
            try:
                yield 1
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)
                yield 2
                yield 3
            finally:
                self.closed += 1

    pipeline = Stubborn()
    run = a_run(pipeline)
    running = asyncio.ensure_future(run.execute())
    await asyncio.sleep(1)
    run.stop()
    report = await running
    assert (pipeline.taken, report.ended_by, pipeline.closed) == ([1, 2], "stopped", 1)


async def test_a_feed_that_never_closes_is_left_behind_after_a_while_and_named() -> None:
    class Clinging(Kept):
        async def feed(self) -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.sleep(10_000)
            finally:
                await asyncio.sleep(10_000)

    pipeline = Clinging()
    pipeline.timeout = 1.0
    run = a_run(pipeline)
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(run.execute())
    await asyncio.wait([running], timeout=60)
    assert running.done()
    assert loop.time() < 10
    running.exception()


async def test_a_feed_that_never_waits_lets_other_tasks_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Greedy(Stream):
        batch_size = 1000

        async def feed(self) -> AsyncIterator[int]:
            until = time.perf_counter() + 0.2
            i = 0
            while time.perf_counter() < until:
                yield i
                i += 1

    task = asyncio.ensure_future(other())
    # No delay at all, for the other task never lets the clock go on; so nothing is learnt about the size of batches.
    await a_run(Greedy(), FakeExecutor(delay=0.0), buffer_size=10**9).execute()
    task.cancel()
    assert turns >= 10


@pytest.mark.parametrize("ending", ["sink", "failure", "lost worker"])
async def test_the_feed_is_closed_and_the_books_balance_however_a_run_fails(ending: str) -> None:
    class Failing(Kept):
        async def sink(self, records: list[Any]) -> None:
            if ending == "sink":
                raise OSError("disk full")

    def step(record: int) -> tuple[int, bool]:
        if ending == "failure" and record == 30:
            raise ValueError("bad")
        return record, True

    pipeline = Failing([item for i in range(100) for item in (i, 0.01)])
    pipeline.steps = (step,)
    pipeline.max_failures = 0
    run = a_run(pipeline, FakeExecutor(refusals={5} if ending == "lost worker" else ()))
    expected = {"sink": SinkError, "failure": PipelineFailed, "lost worker": WorkerLost}[ending]
    with pytest.raises(expected) as caught:
        await watched(run)
    assert pipeline.closed == 1
    report = getattr(caught.value, "report")  # noqa: B009 - every error of a run has one
    assert balanced(report)
    assert report.ended_by == "failed"
    assert run.stats().in_flight == 0


async def test_chunks_in_a_list_are_taken_apart_and_their_deliveries_are_answered() -> None:
    answers, pipeline = Answers(), Kept()
    feed = [Chunk([1, answers.delivery(2)]), 3, Chunk([]), Chunk([4])]
    report = await watched(a_run(pipeline, feed=feed, buffer_size=2))
    assert (pipeline.taken, report.fed, answers.acked) == ([1, 2, 3, 4], 4, [2])


async def test_a_feed_that_stops_its_run_with_its_last_word_has_come_to_its_end() -> None:
    class Stops(Kept):
        async def feed(self) -> AsyncIterator[int]:
            yield 1
            run.stop()

    pipeline = Stops()
    run = a_run(pipeline)
    report = await run.execute()
    assert (pipeline.taken, report.ended_by, report.aborted) == ([1], "stopped", 0)
