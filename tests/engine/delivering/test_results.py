"""One who iterates: gets each result once, in order; may be slow, may leave, may be cancelled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeframe_async import DROP, FeedError, PipelineFailed, StateError, WorkerLost
from pipeframe_async._engine.delivering.results import Results
from pipeframe_async.testing import FakeExecutor
from tests.engine.feeds import ON_LOOP
from tests.engine.harness import Answers, FakeFrame, Sunk, Tap, Through, now, passing, settled

pytestmark = pytest.mark.virtual_clock


def numbers(n: int | None, pause: float = 0.0) -> Any:
    return ON_LOOP["async generator"](Tap(), n, pause)


def uneven(number: int, records: int) -> float:
    return (number * 7 % 5) / 10


def fanned(record: int) -> Any:
    for child in range(record % 3):
        yield 10 * record + child, True


def fails_at_three(record: int) -> tuple[int, bool]:
    if record == 3:
        raise ValueError(record)
    return record, True


@pytest.mark.parametrize("leave_after", range(31))
@pytest.mark.parametrize("fan_out", [False, True])
async def test_a_stream_may_be_left_after_any_result(leave_after: int, fan_out: bool) -> None:
    answers = Answers()

    async def feed() -> AsyncIterator[Any]:
        for number in range(30):
            yield answers.delivery(number)
            if number % 4 == 0:
                await asyncio.sleep(0.05)

    def children(record: int) -> list[int]:
        return [10 * record + child for child in range(record % 3)] if fan_out else [record]

    frame, taken = FakeFrame(FakeExecutor(3, delay=uneven), buffer_size=12), []
    steps = (fanned,) if fan_out else (passing,)
    async with frame.stream(Through(feed, steps=steps)) as results:
        async for record in results:
            taken.append(record)
            if len(taken) == leave_after:
                break
    report = settled(frame)
    everything = [child for number in range(30) for child in children(number)]
    assert taken == everything[: leave_after or None]
    assert report.delivered == len(taken)
    assert sorted(answers.acked + answers.nacked) == list(range(report.fed))
    whole = {number for number in range(30) if set(children(number)) <= set(taken)}
    assert set(answers.acked) <= whole  # nothing is acked of which a result was not taken
    assert all(number in answers.acked for number in whole if children(number))


async def test_a_consumer_that_is_slow_slows_the_feed() -> None:
    tap, frame = Tap(), FakeFrame(buffer_size=5)
    async with frame.stream(Through(ON_LOOP["async generator"](tap, None, 0.0))) as results:
        async for record in results:
            tap.taken += 1
            await asyncio.sleep(10)
            if record == 50:
                break
    assert tap.most <= 5
    assert tap.handed <= 51 + 5
    settled(frame)


@pytest.mark.parametrize("consumers", [2, 5])
async def test_each_result_goes_to_exactly_one_of_many_consumers(consumers: int) -> None:
    frame, draw = FakeFrame(FakeExecutor(3, delay=uneven), buffer_size=10), random.Random(1)

    async def consume(results: Results[int]) -> list[int]:
        taken = []
        async for record in results:
            taken.append(record)
            await asyncio.sleep(draw.random())
        return taken

    async with frame.stream(Through(numbers(200))) as results:
        shares = await asyncio.gather(*(consume(results) for _ in range(consumers)))
    assert sorted(record for share in shares for record in share) == list(range(200))
    assert all(share == sorted(share) for share in shares)
    settled(frame)


async def test_an_error_reaches_one_of_two_consumers_and_the_other_ends() -> None:
    frame = FakeFrame(FakeExecutor(refusals={2}))
    async with frame.stream(Through(numbers(None, 0.1))) as results:

        async def consume() -> None:
            async for _ in results:
                pass

        outcomes = await asyncio.gather(consume(), consume(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [WorkerLost]
    settled(frame)


@pytest.mark.parametrize("patience", [0.001, 0.01, 0.05, 0.3])
async def test_a_consumer_cancelled_again_and_again_while_it_waits_loses_nothing(patience: float) -> None:
    frame, taken = FakeFrame(FakeExecutor(delay=uneven), buffer_size=10), []
    async with frame.stream(Through(numbers(40, 0.1))) as results:
        while True:
            try:
                async with asyncio.timeout(patience):
                    taken.append(await anext(results))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
    assert taken == list(range(40))
    assert settled(frame).delivered == 40


async def test_a_consumer_cancelled_in_the_turn_its_result_comes_loses_nothing() -> None:
    frame, taken = FakeFrame(buffer_size=10), list[int]()
    async with frame.stream(Through(numbers(30, 0.1))) as results:
        waiting = asyncio.ensure_future(anext(results))
        while len(taken) < 30:
            await asyncio.sleep(0)
            fed = frame.stats().delivered
            if waiting.cancel() and fed > len(taken) - 1:
                await asyncio.sleep(0.001)
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                taken.append(waiting.result())
            waiting = asyncio.ensure_future(anext(results))
            await asyncio.sleep(0.01)
        with pytest.raises(StopAsyncIteration):
            await waiting
    assert taken == list(range(30))
    settled(frame)


@pytest.mark.parametrize("leave_after", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("fan_out", [False, True])
async def test_results_come_by_the_list_in_their_order(leave_after: int, fan_out: bool) -> None:
    """As many lists as are wanted; what was handed over is delivered, and nothing else."""
    frame, taken = FakeFrame(FakeExecutor(3, delay=uneven), buffer_size=12), list[list[int]]()
    steps = (fanned,) if fan_out else (passing,)
    async with frame.stream(Through(numbers(30, 0.01), steps=steps)) as results:
        batches = results.batches()
        for _ in range(leave_after):
            if (batch := await anext(batches, None)) is None:
                break
            taken.append(batch)
    there = [10 * record + child for record in range(30) for child in range(record % 3)] if fan_out else [*range(30)]
    had = [result for batch in taken for result in batch]
    assert all(taken)
    assert had == there[: len(had)]
    assert len(had) == len(there) or leave_after < 100
    assert settled(frame).delivered == len(had)


async def test_lists_and_single_results_are_of_the_same_stream() -> None:
    frame, taken = FakeFrame(buffer_size=12), list[int]()
    async with frame.stream(Through(numbers(40))) as results:
        batches = results.batches()
        while (one := await anext(results, None)) is not None:
            taken.append(one)
            taken += await anext(batches, [])
    assert taken == list(range(40))
    assert settled(frame).delivered == 40


@pytest.mark.parametrize("patience", [0.001, 0.05, 0.3])
async def test_who_waits_for_a_list_and_is_cancelled_loses_nothing(patience: float) -> None:
    frame, taken = FakeFrame(FakeExecutor(delay=uneven), buffer_size=10), list[int]()
    async with frame.stream(Through(numbers(40, 0.1))) as results:
        batches = results.batches()
        while True:
            try:
                async with asyncio.timeout(patience):
                    taken += await anext(batches)
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
    assert taken == list(range(40))
    assert settled(frame).delivered == 40


async def test_the_error_of_a_run_comes_behind_its_last_list() -> None:
    frame, taken = FakeFrame(), list[int]()
    async with frame.stream(Through(ON_LOOP["async generator"](Tap(), 5, 0.0), steps=(fails_at_three,))) as results:
        with pytest.raises(PipelineFailed):
            async for batch in results.batches():
                taken += batch
    assert taken == [0, 1, 2, 4]


async def test_a_stream_that_has_ended_stays_ended() -> None:
    frame = FakeFrame()
    async with frame.stream(Through(numbers(3))) as results:
        assert [record async for record in results] == [0, 1, 2]
        assert [record async for record in results] == []
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        assert results.report.delivered == 3
    assert results.report is settled(frame)


async def test_the_report_is_there_when_the_run_has_ended_and_not_before() -> None:
    frame = FakeFrame()
    async with frame.stream(Through(numbers(3))) as results:
        with pytest.raises(StateError, match="not ended yet"):
            _ = results.report
    assert results.report.ended_by == "stopped"


async def test_results_that_are_all_filtered_end_the_stream() -> None:
    frame = FakeFrame()
    async with frame.stream(Through(numbers(50), steps=(lambda record: DROP,))) as results:
        assert [record async for record in results] == []
    assert settled(frame).filtered == 50


async def test_a_streams_pipeline_need_not_have_its_sink_called() -> None:
    frame, pipeline = FakeFrame(), Sunk(numbers(5))
    async with frame.stream(pipeline) as results:
        assert [record async for record in results] == list(range(5))
    assert pipeline.taken == []


def fails_at(bad: int) -> Any:
    def step(record: int) -> tuple[int, bool]:
        if record == bad:
            raise ValueError(record)
        return record, True

    return step


async def test_results_before_a_failure_come_first_and_then_the_error() -> None:
    frame, taken = FakeFrame(buffer_size=10), []
    with pytest.raises(PipelineFailed) as caught:
        async with frame.stream(Through(numbers(None, 0.1), steps=(fails_at(20),))) as results:
            async for record in results:
                taken.append(record)
                await asyncio.sleep(0.2)
    report = settled(frame)
    assert taken[:20] == list(range(20))
    assert report.delivered == len(taken)
    assert caught.value.report == report


async def test_an_error_that_was_seen_is_not_raised_again_at_the_end_of_the_block() -> None:
    frame = FakeFrame()
    async with frame.stream(Through(numbers(50), steps=(fails_at(0),))) as results:
        with pytest.raises(PipelineFailed):
            async for _ in results:
                pass
    settled(frame)


async def test_an_error_nobody_saw_is_raised_from_leaving_the_block() -> None:
    frame = FakeFrame()
    with pytest.raises(PipelineFailed):
        async with frame.stream(Through(numbers(50), steps=(fails_at(0),))):
            await asyncio.sleep(100)
    settled(frame)


async def test_an_error_in_the_block_is_not_hidden_by_one_of_the_run() -> None:
    frame = FakeFrame()
    with pytest.raises(LookupError):
        async with frame.stream(Through(numbers(50), steps=(fails_at(0),))):
            await asyncio.sleep(100)
            raise LookupError
    settled(frame)


async def test_stop_gives_the_results_that_were_in_flight() -> None:
    frame, taken = FakeFrame(FakeExecutor(delay=lambda number, records: 1.0), buffer_size=10), []
    async with frame.stream(Through(numbers(None, 0.05))) as results:
        async for record in results:
            taken.append(record)
            if record == 10:
                frame.stop()
    report = settled(frame)
    assert taken == list(range(report.fed))
    assert (report.ended_by, report.aborted) == ("stopped", 0)


async def test_a_consumer_that_takes_nothing_after_a_stop_is_waited_for_as_long_as_the_drain_may_last() -> None:
    frame = FakeFrame(buffer_size=10, drain_timeout=20.0)
    async with frame.stream(Through(numbers(None, 0.05))) as results:
        await anext(results)
        await asyncio.sleep(1)
        frame.stop()
        await asyncio.sleep(19)
        with pytest.raises(StateError):
            _ = results.report
        await asyncio.sleep(2)
        assert results.report.aborted == results.report.fed - 1
        assert [record async for record in results] == []
    settled(frame)


async def test_leaving_does_not_wait_for_workers() -> None:
    frame = FakeFrame(FakeExecutor(delay=lambda number, records: 1000.0 if number else 0.0))
    async with frame.stream(Through(numbers(None, 0.1))) as results:
        await anext(results)
        await asyncio.sleep(1)
    settled(frame)
    assert now() < 2
    assert frame.made[-1].left_work


async def test_a_stream_may_be_left_while_its_feed_is_failing() -> None:
    async def feed() -> AsyncIterator[int]:
        yield 0
        raise OSError("gone")

    frame = FakeFrame(FakeExecutor(delay=lambda number, records: 0.0))
    with pytest.raises(FeedError):
        async with frame.stream(Through(feed)) as results:
            assert await anext(results) == 0
            await asyncio.sleep(1)
    settled(frame)


async def test_completion_order_gives_results_as_they_finish() -> None:
    delays = {0: 9.0, 1: 1.0, 2: 5.0}
    frame = FakeFrame(FakeExecutor(3, slots=1, delay=lambda number, records: delays.get(number, 20.0)))
    async with frame.stream(Through(numbers(3), order="completion", batch_size=1)) as results:
        assert [(record, round(now())) async for record in results] == [(1, 1), (2, 5), (0, 9)]
    settled(frame)


async def test_input_order_waits_for_the_first() -> None:
    delays = {0: 9.0, 1: 1.0, 2: 5.0}
    frame = FakeFrame(FakeExecutor(3, slots=1, delay=lambda number, records: delays.get(number, 20.0)))
    async with frame.stream(Through(numbers(3), batch_size=1)) as results:
        assert [(record, round(now())) async for record in results] == [(0, 9), (1, 9), (2, 9)]
    settled(frame)
