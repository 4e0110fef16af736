"""aiostream's operators on the results of a stream: they give what is there, and leaving them leaves nothing."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from pipeframe_async import FeedError, PipeFrame, PipelineFailed, apply
from tests.aiostream.sources import Live, Through, a_frame, pipe, stream


def incremented(number: int) -> tuple[int, bool]:
    return number + 1, True


def doubled(number: int) -> int:
    return number * 2


async def later(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


@pytest.mark.parametrize("function", [doubled, later])
async def test_map_over_the_results(function: Any) -> None:
    async with (
        a_frame().stream(Through(range(20), steps=(incremented,))) as results,
        (stream.iterate(results) | pipe.map(function)).stream() as streamer,
    ):
        assert [number async for number in streamer] == [2 * n for n in range(1, 21)]
    assert results.report.ended_by == "exhausted"


async def test_chunks_are_windows_of_the_results() -> None:
    async with a_frame().stream(Through(range(25))) as results:
        windows: list[list[int]] = []
        async with (stream.iterate(results) | pipe.chunks(10)).stream() as streamer:
            async for window in streamer:
                windows.append(window)
    assert windows == [[*range(10)], [*range(10, 20)], [*range(20, 25)]]
    assert results.report.delivered == 25


async def test_a_window_is_there_while_the_merged_sources_are_live() -> None:
    one, other = Live([1, 2, 3], then="waits"), Live([10, 20, 30], then="waits")
    feed = stream.merge(one.numbers(), other.numbers())
    async with (
        a_frame().stream(Through(feed)) as results,
        (stream.iterate(results) | pipe.chunks(6)).stream() as windows,
    ):
        assert sorted(await anext(windows)) == [1, 2, 3, 10, 20, 30]
        assert (one.closed, other.closed) == (0, 0)
    assert (one.closed, other.closed) == (1, 1)
    assert (results.report.ended_by, results.report.delivered) == ("stopped", 6)


async def test_awaiting_a_stream_of_results_gives_its_last() -> None:
    async with a_frame().stream(Through(range(1, 6))) as results:
        assert await (stream.iterate(results) | pipe.accumulate()) == 15


@pytest.mark.parametrize("buffer_size", [1, 10, 10_000])
async def test_take_leaves_an_endless_pipeline_and_nothing_of_it_behind(buffer_size: int) -> None:
    live = Live(count())
    feed = stream.iterate(live.numbers())
    async with a_frame(buffer_size=buffer_size).stream(Through(feed, steps=(incremented,))) as results:
        assert await stream.list(stream.iterate(results) | pipe.take(5)) == [1, 2, 3, 4, 5]
        assert live.closed == 0  # an operator ends its own iteration, not the run
    report = results.report
    assert (live.opened, live.closed) == (1, 1)
    assert (report.delivered, report.ended_by) == (5, "stopped")
    assert report.fed == report.delivered + report.aborted


async def test_a_second_operator_goes_on_where_the_first_has_stopped() -> None:
    async with a_frame().stream(Through(range(7))) as results:
        taken = stream.iterate(results) | pipe.take(3)
        assert await stream.list(taken) == [0, 1, 2]
        assert await stream.list(taken) == [3, 4, 5]
        assert await stream.list(taken) == [6]


async def test_breaking_out_of_an_operator_leaves_nothing_behind() -> None:
    live = Live(count())
    async with (
        a_frame(buffer_size=8).stream(Through(live.numbers())) as results,
        (stream.iterate(results) | pipe.chunks(4) | pipe.enumerate()).stream() as windows,
    ):
        async for number, window in windows:
            assert window == list(range(4 * number, 4 * number + 4))
            if number == 3:
                break
    assert (live.opened, live.closed) == (1, 1)
    assert results.report.delivered == 16


async def test_an_error_inside_the_operators_block_is_the_callers_and_leaves_nothing_behind() -> None:
    live = Live(count())
    with pytest.raises(LookupError, match="of the consumer"):
        async with (
            a_frame(buffer_size=8).stream(Through(live.numbers())) as results,
            (stream.iterate(results) | pipe.map(doubled)).stream() as streamer,
        ):
            async for number in streamer:
                if number == 10:
                    raise LookupError("of the consumer")
    assert (live.opened, live.closed) == (1, 1)
    assert results.report.ended_by == "stopped"


async def test_an_operators_function_that_raises_is_raised_as_it_is() -> None:
    live = Live(count())
    with pytest.raises(ZeroDivisionError):
        async with a_frame(buffer_size=8).stream(Through(live.numbers())) as results:
            await (stream.iterate(results) | pipe.map(lambda n: 1 / (n - 5)))
    assert (live.opened, live.closed) == (1, 1)


async def test_a_consumer_cancelled_inside_an_operator_leaves_nothing_behind() -> None:
    live = Live(range(3), then="waits")
    seen = asyncio.Event()

    async def consume() -> None:
        async with (
            a_frame().stream(Through(live.numbers())) as results,
            (stream.iterate(results) | pipe.map(doubled)).stream() as streamer,
        ):
            async for number in streamer:
                if number == 4:
                    seen.set()

    consuming = asyncio.ensure_future(consume())
    await seen.wait()
    consuming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consuming
    assert (live.opened, live.closed) == (1, 1)


@pytest.mark.virtual_clock
async def test_an_operator_that_gives_up_waiting_loses_no_result() -> None:
    more = asyncio.Event()

    async def feed() -> Any:
        yield 1
        await more.wait()
        yield 2
        yield 3

    async with a_frame().stream(Through(feed)) as results:
        with pytest.raises(TimeoutError):
            await (stream.iterate(results) | pipe.timeout(1.0))
        more.set()
        assert await stream.list(stream.iterate(results)) == [2, 3]
    assert results.report.delivered == 3


async def test_results_of_two_pipelines_of_one_frame_are_merged() -> None:
    async with (
        a_frame() as frame,
        frame.stream(Through(range(10))) as low,
        frame.stream(Through(range(100, 120))) as high,
    ):
        merged = await stream.list(stream.merge(low, high))
    assert [number for number in merged if number < 100] == list(range(10))
    assert [number for number in merged if number >= 100] == list(range(100, 120))
    assert (low.report.delivered, high.report.delivered) == (10, 20)


async def test_leaving_the_merged_results_of_endless_pipelines_leaves_nothing_behind() -> None:
    one, other = Live(count()), Live(count(), then="waits")
    async with (
        a_frame(buffer_size=8) as frame,
        frame.stream(Through(one.numbers())) as a,
        frame.stream(Through(other.numbers())) as b,
    ):
        assert len(await stream.list(stream.merge(a, b) | pipe.take(50))) == 50
    assert (one.opened, one.closed) == (other.opened, other.closed) == (1, 1)


async def test_operators_pass_backpressure_on_to_the_feed() -> None:
    live = Live(range(1_000))
    async with (
        a_frame(buffer_size=5).stream(Through(live.numbers())) as results,
        (stream.iterate(results) | pipe.map(doubled) | pipe.chunks(2)).stream() as windows,
    ):
        for taken in range(1, 20):
            await anext(windows)
            assert live.handed <= 2 * taken + 5 + 1
    assert live.handed < 1_000


async def test_the_runs_error_comes_out_of_the_operator_after_the_results_before_it() -> None:
    live = Live(range(3), then=ConnectionError("gone"))
    numbers: list[int] = []
    with pytest.raises(FeedError, match="ConnectionError: gone"):
        async with (
            a_frame().stream(Through(live.numbers())) as results,
            (stream.iterate(results) | pipe.map(doubled)).stream() as streamer,
        ):
            async for number in streamer:
                numbers.append(number)
    assert numbers == [0, 2, 4]
    assert (live.opened, live.closed) == (1, 1)


async def test_too_many_failures_come_out_of_the_operator() -> None:
    with pytest.raises(PipelineFailed) as caught:
        async with a_frame().stream(Through([1, 0], steps=(apply(lambda n: 1 / n),))) as results:
            await stream.list(stream.iterate(results) | pipe.chunks(2))
    assert caught.value.failures[0].record == 0


@pytest.mark.process
async def test_a_merged_feed_and_windowed_results_with_worker_processes_between_them() -> None:
    one, other = Live(range(0, 100, 2)), Live(range(1, 100, 2))
    feed = stream.merge(one.numbers(), other.numbers())
    async with PipeFrame(cpu_count=1, buffer_size=16).stream(Through(feed, steps=(incremented,))) as results:
        windows = await stream.list(stream.iterate(results) | pipe.chunks(30))
    assert [len(window) for window in windows] == [30, 30, 30, 10]
    assert sorted(number for window in windows for number in window) == list(range(1, 101))
    assert (one.closed, other.closed) == (1, 1)
