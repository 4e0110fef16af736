"""An aiostream stream is a feed: all of it comes, and every source is closed once however the run ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any

import pytest
from aiostream import Stream, operator

from pipeframe_async import Chunk, Delivery, Failure, FeedError, PipelineFailed, SinkError, apply
from tests.aiostream.sources import FORMS, ONE_BY_ONE, Form, Live, Sunk, Through, a_frame, failing, pipe, stream

each_form = pytest.mark.parametrize(("form", "sources"), FORMS.values(), ids=FORMS)
each_form_one_by_one = pytest.mark.parametrize(("form", "sources"), ONE_BY_ONE.values(), ids=ONE_BY_ONE)


def both(live: Live) -> tuple[int, int]:
    return live.opened, live.closed


@pytest.mark.parametrize("source", ["stream", "batch"])
@each_form
async def test_all_of_a_stream_comes_and_its_sources_are_closed(form: Form, sources: int, source: str) -> None:
    live = Live(range(50))
    pipeline = Sunk(form(live), source=source)
    report = await a_frame(buffer_size=8).run(pipeline)
    assert sorted(pipeline.taken) == sorted([*range(50)] * sources)
    assert (report.fed, report.ended_by) == (50 * sources, "exhausted")
    assert both(live) == (sources, sources)


async def test_operators_keep_the_order_of_the_feed() -> None:
    pipeline = Sunk(stream.range(100) | pipe.filter(lambda n: n % 2 == 0) | pipe.map(lambda n: n * 10) | pipe.take(4))
    await a_frame(buffer_size=2).run(pipeline)
    assert pipeline.taken == [0, 20, 40, 60]


async def test_an_operator_that_ends_early_ends_the_run_and_closes_its_source() -> None:
    live = Live(count())
    pipeline = Sunk(stream.iterate(live.numbers()) | pipe.take(5))
    report = await a_frame().run(pipeline)
    assert (pipeline.taken, report.ended_by) == ([0, 1, 2, 3, 4], "exhausted")
    assert both(live) == (1, 1)


async def test_merged_sources_both_come_while_neither_has_ended() -> None:
    one, other = Live(["a1", "a2"], then="waits"), Live(["b1", "b2"], then="waits")
    pipeline = Sunk(stream.merge(one.numbers(), other.numbers()), wanted=4)
    frame = a_frame()
    running = asyncio.ensure_future(frame.run(pipeline))
    await pipeline.enough.wait()
    assert (one.closed, other.closed) == (0, 0)
    frame.stop()
    assert (await running).delivered == 4
    assert [record for record in pipeline.taken if record[0] == "a"] == ["a1", "a2"]
    assert [record for record in pipeline.taken if record[0] == "b"] == ["b1", "b2"]


@each_form_one_by_one
async def test_stop_closes_a_stream_that_waits_and_delivers_what_it_fed(form: Form, sources: int) -> None:
    live = Live(range(10), then="waits")
    pipeline = Sunk(form(live), wanted=10 * sources)
    frame = a_frame()
    running = asyncio.ensure_future(frame.run(pipeline))
    await pipeline.enough.wait()
    frame.stop()
    report = await running
    assert (report.ended_by, report.delivered, report.aborted) == ("stopped", 10 * sources, 0)
    assert both(live) == (sources, sources)


@each_form
async def test_stop_closes_a_stream_in_full_flow(form: Form, sources: int) -> None:
    live = Live(count())
    pipeline = Sunk(form(live), wanted=20)
    frame = a_frame(buffer_size=4)
    running = asyncio.ensure_future(frame.run(pipeline))
    await pipeline.enough.wait()
    frame.stop()
    report = await running
    assert report.ended_by == "stopped"
    assert report.fed == report.delivered == len(pipeline.taken)
    assert both(live) == (sources, sources)


@each_form
async def test_leaving_the_results_early_closes_an_endless_stream(form: Form, sources: int) -> None:
    live = Live(count())
    async with a_frame(buffer_size=4).stream(Through(form(live))) as results:
        async for record in results:
            if record == 20:
                break
    assert results.report.ended_by == "stopped"
    assert both(live) == (sources, sources)


@each_form_one_by_one
async def test_leaving_by_an_error_closes_a_stream_that_waits_for_room(form: Form, sources: int) -> None:
    live = Live(count())
    frame = a_frame(buffer_size=3)
    with pytest.raises(LookupError, match="of the consumer"):
        async with frame.stream(Through(form(live))) as results:
            await anext(results)
            while frame.stats().in_flight < 3:
                await asyncio.sleep(0)
            raise LookupError("of the consumer")
    assert both(live) == (sources, sources)


@each_form_one_by_one
async def test_a_cancelled_run_closes_its_stream(form: Form, sources: int) -> None:
    live = Live(range(10), then="waits")
    pipeline = Sunk(form(live), wanted=10 * sources)
    running = asyncio.ensure_future(a_frame().run(pipeline))
    await pipeline.enough.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert both(live) == (sources, sources)


@pytest.mark.virtual_clock
@each_form_one_by_one
async def test_a_stream_that_falls_silent_is_closed_when_it_has_dried(form: Form, sources: int) -> None:
    live = Live(range(10), then="waits")
    pipeline = Sunk(form(live), timeout=2.0)
    report = await a_frame().run(pipeline)
    assert (report.ended_by, report.delivered) == ("idle", 10 * sources)
    assert both(live) == (sources, sources)


@each_form
async def test_failures_that_end_the_run_close_its_stream(form: Form, sources: int) -> None:
    live = Live(count())
    with pytest.raises(PipelineFailed):
        await a_frame(buffer_size=4).run(Through(form(live), steps=(failing,)))
    assert both(live) == (sources, sources)


@each_form
async def test_a_sink_that_raises_ends_the_run_and_closes_its_stream(form: Form, sources: int) -> None:
    async def sink(records: list[Any]) -> None:
        raise OSError("full")

    live = Live(count())
    with pytest.raises(SinkError, match="OSError: full"):
        await a_frame(buffer_size=4).run(Through(form(live), sink=sink))
    assert both(live) == (sources, sources)


@each_form_one_by_one
async def test_a_source_that_raises_is_the_feeds_error_and_what_it_fed_is_delivered(form: Form, sources: int) -> None:
    gone = ConnectionError("gone")
    live = Live(range(3), then=gone)
    pipeline = Sunk(form(live))
    with pytest.raises(FeedError, match="the feed of Sunk raised ConnectionError: gone") as caught:
        await a_frame().run(pipeline)
    assert caught.value.__cause__ is gone
    assert set(pipeline.taken) == {0, 1, 2}
    assert caught.value.report is not None
    assert caught.value.report.delivered == len(pipeline.taken)
    assert both(live) == (sources, sources)


async def test_a_source_that_raises_closes_the_one_merged_with_it() -> None:
    broken, waiting = Live([1], then=ConnectionError("gone")), Live([2], then="waits")
    pipeline = Sunk(stream.merge(waiting.numbers(), broken.numbers()))
    with pytest.raises(FeedError, match="ConnectionError: gone"):
        await a_frame().run(pipeline)
    assert sorted(pipeline.taken) == [1, 2]
    assert both(broken) == both(waiting) == (1, 1)


async def test_an_operators_function_that_raises_is_the_feeds_error() -> None:
    live = Live([2, 1, 0])
    pipeline = Sunk(stream.iterate(live.numbers()) | pipe.map(lambda n: 2 / n))
    with pytest.raises(FeedError, match="ZeroDivisionError"):
        await a_frame().run(pipeline)
    assert pipeline.taken == [1.0, 2.0]
    assert both(live) == (1, 1)


@each_form_one_by_one
async def test_backpressure_reaches_the_sources(form: Form, sources: int) -> None:
    live = Live(range(1_000))
    async with a_frame(buffer_size=5).stream(Through(form(live))) as results:
        for taken in range(1, 30):
            await anext(results)
            # Merged sources are each asked for one record more than is wanted of them: that is what `merge` does.
            assert live.handed <= taken + 5 + sources
    assert live.handed < 1_000


async def test_a_stream_of_the_class_is_fed_anew_by_each_run() -> None:
    class Numbers(Through):
        def __init__(self) -> None:
            pass

        feed = stream.range(5) | pipe.map(lambda n: n + 1)

    for _ in range(2):
        async with a_frame().stream(Numbers) as results:
            assert [record async for record in results] == [1, 2, 3, 4, 5]


async def test_a_method_may_return_a_stream_and_an_operator_of_ones_own_makes_one() -> None:
    @operator
    async def squares() -> AsyncIterator[int]:
        for number in range(4):
            yield number**2

    class Returned(Sunk):
        def __init__(self) -> None:
            super().__init__()
            del self.feed

        def feed(self) -> Stream[int]:
            return squares()

    pipeline = Returned()
    await a_frame().run(pipeline)
    assert pipeline.taken == [0, 1, 4, 9]
    pipeline = Returned()
    await a_frame().run(pipeline, squares)
    assert pipeline.taken == [0, 1, 4, 9]


async def test_chunks_and_single_records_may_alternate_in_a_stream() -> None:
    feed = stream.iterate([Chunk([0, 1, 2]), 3, Chunk([]), Chunk(range(4, 20)), 20])
    pipeline = Sunk(feed)
    report = await a_frame(buffer_size=5).run(pipeline)
    assert pipeline.taken == list(range(21))
    assert report.fed == 21


async def test_lists_of_aiostreams_chunks_are_single_records() -> None:
    pipeline = Sunk(stream.range(5) | pipe.chunks(2))
    report = await a_frame().run(pipeline)
    assert (pipeline.taken, report.fed) == ([[0, 1], [2, 3], [4]], 3)


class Broker:
    """Makes deliveries and keeps their answers."""

    def __init__(self) -> None:
        self.acked: list[Any] = []
        self.nacked: list[tuple[Any, Failure[Any] | None]] = []

    def delivery(self, record: Any) -> Delivery[Any]:
        return Delivery(record, None, partial(self.acked.append, record), lambda why: self.nacked.append((record, why)))


async def test_deliveries_in_a_merged_stream_are_each_answered_to_their_own_source() -> None:
    one, other = Broker(), Broker()
    feed = stream.merge(
        stream.range(0, 10) | pipe.map(one.delivery),
        stream.range(10, 30) | pipe.map(other.delivery) | pipe.chunks(4) | pipe.map(Chunk),
    )
    pipeline = Sunk(feed)
    report = await a_frame(buffer_size=6).run(pipeline)
    assert report.delivered == 30
    assert sorted(pipeline.taken) == list(range(30))
    assert (one.acked, other.acked) == (list(range(10)), list(range(10, 30)))
    assert one.nacked == other.nacked == []


async def test_a_delivery_that_fails_is_nacked_with_its_failure() -> None:
    broker = Broker()
    pipeline = Sunk(
        stream.iterate([1, 0, 2]) | pipe.map(broker.delivery), steps=(apply(lambda n: 2 / n),), max_failures=None
    )
    await a_frame().run(pipeline)
    assert broker.acked == [1, 2]
    [(record, failure)] = broker.nacked
    assert failure is not None
    assert (record, failure.error_type) == (0, "ZeroDivisionError")


async def test_deliveries_nobody_takes_are_nacked_when_the_consumer_leaves() -> None:
    broker = Broker()
    live = Live(range(1_000))
    feed = stream.iterate(live.numbers()) | pipe.map(broker.delivery)
    async with a_frame(buffer_size=10).stream(Through(feed)) as results:
        async for record in results:
            if record == 5:
                break
    assert broker.acked == [0, 1, 2, 3, 4, 5]
    assert [record for record, _ in broker.nacked] == list(range(6, live.handed))
    assert {failure for _, failure in broker.nacked} <= {None}


async def test_all_deliveries_of_a_chunk_are_answered_also_those_there_was_no_room_for() -> None:
    broker = Broker()
    feed = stream.range(50) | pipe.map(broker.delivery) | pipe.chunks(50) | pipe.map(Chunk)
    async with a_frame(buffer_size=10).stream(Through(feed)) as results:
        async for record in results:
            if record == 5:
                break
    assert broker.acked == [0, 1, 2, 3, 4, 5]
    assert sorted(record for record, _ in broker.nacked) == list(range(6, 50))


class Lookalike:
    """Of the shape of a Stream, and by nobody the package knows: keeps what is done with it and by which task."""

    def __init__(self) -> None:
        self.done: list[tuple[str, asyncio.Task[Any] | None]] = []

    def note(self, what: str) -> None:
        self.done.append((what, asyncio.current_task()))

    def __aiter__(self) -> AsyncIterator[int]:
        raise AssertionError("iterated without its context")

    def stream(self) -> LookalikeStreamer:
        self.note("made")
        return LookalikeStreamer(self)


class LookalikeStreamer(AsyncIterator[int]):
    """The context and the iterator, as aiostream's Streamer is."""

    def __init__(self, lookalike: Lookalike) -> None:
        self._note = lookalike.note
        self._numbers = iter(range(3))

    async def __aenter__(self) -> LookalikeStreamer:
        self._note("entered")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._note("left")

    async def aclose(self) -> None:
        await self.__aexit__(None, None, None)

    async def __anext__(self) -> int:
        for number in self._numbers:
            self._note(f"asked for {number}")
            return number
        raise StopAsyncIteration


async def test_a_stream_is_known_by_its_shape_and_entered_and_left_around_its_records_by_one_task() -> None:
    feed = Lookalike()
    pipeline = Sunk(feed)
    await a_frame().run(pipeline)
    assert pipeline.taken == [0, 1, 2]
    assert [what for what, _ in feed.done] == ["made", "entered", "asked for 0", "asked for 1", "asked for 2", "left"]
    assert len({task for _, task in feed.done}) == 1


class Hanging:
    """Ends at once, and never closes."""

    def __aiter__(self) -> Hanging:
        return self

    async def __anext__(self) -> int:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await asyncio.get_running_loop().create_future()


@pytest.mark.virtual_clock
async def test_a_stream_that_does_not_close_is_left_behind_after_a_while() -> None:
    with pytest.raises(FeedError, match="did not close within 5 s"):
        await a_frame().run(Through(stream.iterate(Hanging())))


class Client:
    """An async iterable with a method of that name for something else."""

    def __init__(self) -> None:
        self.left = [1, 2, 3]

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)

    def stream(self, topic: str) -> None:
        raise AssertionError(f"asked for {topic}")


async def test_a_client_that_must_be_told_what_to_stream_is_iterated_as_it_is() -> None:
    assert (await a_frame().run(Through(Client()))).delivered == 3
