"""Every form of feed: all of it comes, in order, and it is opened and closed once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiostream import pipe, stream

from pipeframe_async import Chunk, ConfigError, FeedError, PipelineEngine, StateError
from pipeframe_async._engine.feeding.source import Listed
from pipeframe_async._rules.feed_forms import feed_form
from pipeframe_async.testing import FakeExecutor
from tests.engine.feeds import CLOSED, IN_THREAD, ON_LOOP, Form
from tests.engine.harness import FakeFrame, Sunk, Tap, Through, now, passing, settled


@pytest.mark.virtual_clock
@pytest.mark.parametrize("source", ["stream", "batch"])
@pytest.mark.parametrize("form", ON_LOOP.values(), ids=ON_LOOP)
async def test_a_feed_on_the_loop_comes_whole_and_in_order(form: Form, source: str) -> None:
    tap, frame = Tap(), FakeFrame(buffer_size=10)
    pipeline = Sunk(form(tap, 50, 0.01), source=source)
    await frame.run(pipeline)
    assert pipeline.taken == list(range(50))
    assert settled(frame).ended_by == "exhausted"
    assert tap.opened == tap.closed
    assert tap.opened == (0 if form is ON_LOOP["async iterator"] else 1)


@pytest.mark.parametrize("source", ["stream", "batch"])
@pytest.mark.parametrize("form", IN_THREAD.values(), ids=IN_THREAD)
async def test_a_feed_in_a_thread_comes_whole_and_in_order(form: Any, source: str) -> None:
    tap, frame = Tap(), FakeFrame(buffer_size=10)
    pipeline = Sunk(form(tap, 50), source=source)
    await frame.run(pipeline)
    assert pipeline.taken == list(range(50))
    assert settled(frame).ended_by == "exhausted"
    assert tap.opened == tap.closed == 1


@pytest.mark.parametrize("collection", [list, tuple, range, iter, dict.fromkeys])
async def test_plain_collections_are_feeds(collection: Any) -> None:
    pipeline = Sunk(range(9) if collection is range else collection(range(9)))
    assert (await FakeFrame().run(pipeline)).fed == 9
    assert pipeline.taken == list(range(9))


@pytest.mark.virtual_clock
@pytest.mark.parametrize("form", ON_LOOP.values(), ids=ON_LOOP)
async def test_a_feed_given_to_run_replaces_that_of_the_class(form: Form) -> None:
    async def never() -> AsyncIterator[int]:
        raise AssertionError("the class's feed was opened")
        yield 1

    pipeline = Sunk(never)
    await FakeFrame().run(pipeline, form(Tap(), 5, 0.0))
    assert pipeline.taken == list(range(5))


class Methods(PipelineEngine[int, int]):
    """Feeds as methods: bound, static, of the class."""

    source = "stream"
    steps = (passing,)

    def __init__(self) -> None:
        self.taken: list[int] = []

    async def sink(self, records: list[int]) -> None:
        self.taken += records


class AsyncMethod(Methods):
    async def feed(self) -> AsyncIterator[int]:
        yield 1


class SyncMethod(Methods):
    def feed(self) -> Iterator[int]:
        yield 1


class StaticBucket(Methods):
    @staticmethod
    def feed(bucket: Any) -> None:
        bucket.put(1)


class StaticAsyncBucket(Methods):
    @staticmethod
    async def feed(bucket: Any) -> None:
        await bucket.put(1)


class BucketMethod(Methods):
    def feed(self, bucket: Any) -> None:
        bucket.put(1)


class AsyncBucketMethod(Methods):
    async def feed(self, bucket: Any) -> None:
        await bucket.put(1)


class ClassMethod(Methods):
    @classmethod
    def feed(cls) -> Iterator[int]:
        yield 1


class StreamMethod(Methods):
    def feed(self) -> Any:
        return stream.just(1)


class StreamAttribute(Methods):
    feed = stream.just(1)


class ListAttribute(Methods):
    feed = [1]


@pytest.mark.parametrize("pipeline", Methods.__subclasses__())
async def test_each_way_of_writing_feed_in_a_class_works(pipeline: type[Methods]) -> None:
    engine = pipeline()
    frame = FakeFrame()
    await frame.run(engine)
    assert engine.taken == [1]
    settled(frame)


async def test_a_blocking_feed_is_pulled_in_a_thread_of_its_own() -> None:
    seen: set[threading.Thread] = set()

    def feed() -> Iterator[int]:
        for number in range(3):
            seen.add(threading.current_thread())
            yield number

    await FakeFrame().run(Through(feed))
    assert len(seen) == 1
    assert threading.main_thread() not in seen


async def test_a_blocking_feed_does_not_hold_up_the_loop() -> None:
    may_go_on = threading.Event()

    def feed() -> Iterator[int]:
        yield 1
        may_go_on.wait()
        yield 2

    frame = FakeFrame()
    async with frame.stream(Through(feed)) as results:
        assert await anext(results) == 1  # what came before the block is not held back
        may_go_on.set()
        assert await anext(results) == 2


async def test_a_bucket_takes_records_from_several_threads() -> None:
    def feed(bucket: Any) -> None:
        threads = [threading.Thread(target=bucket.put, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    frame, pipeline = FakeFrame(buffer_size=3), Sunk(feed)
    await frame.run(pipeline)
    assert sorted(pipeline.taken) == list(range(20))
    settled(frame)


async def test_a_put_from_a_thread_after_the_feed_has_returned_is_refused_and_never_lost_silently() -> None:
    returned, refused = threading.Event(), threading.Event()

    def feed(bucket: Any) -> None:
        def late() -> None:
            returned.wait(10)
            try:
                while True:  # the feed's own end may still be a moment away
                    bucket.put("late")
            except StateError:
                refused.set()

        bucket.put("early")
        threading.Thread(target=late).start()

    frame, pipeline = FakeFrame(buffer_size=3), Sunk(feed)
    running = asyncio.ensure_future(frame.run(pipeline))
    await asyncio.sleep(0)
    returned.set()
    report = await running
    assert await asyncio.to_thread(refused.wait, 10)
    assert pipeline.taken[0] == "early"
    assert len(pipeline.taken) == report.fed
    settled(frame)


@pytest.mark.virtual_clock
async def test_a_put_from_a_task_after_the_feed_has_returned_is_refused_too() -> None:
    tasks = []

    async def feed(bucket: Any) -> None:
        async def late() -> None:
            for _ in range(9):
                await bucket.put("late")

        await bucket.put("early")
        tasks.append(asyncio.ensure_future(late()))
        await asyncio.sleep(1)

    frame, pipeline = FakeFrame(FakeExecutor(1, delay=5.0), buffer_size=2), Sunk(feed)
    report = await frame.run(pipeline)
    with pytest.raises(StateError, match="after the feed had returned"):
        await tasks[0]
    assert pipeline.taken == ["early", *["late"] * (report.fed - 1)]
    settled(frame)


@pytest.mark.virtual_clock
async def test_a_bucket_takes_records_from_several_tasks() -> None:
    async def feed(bucket: Any) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(bucket.put(number))

    frame, pipeline = FakeFrame(FakeExecutor(delay=lambda number, records: 0.1), buffer_size=3), Sunk(feed)
    await frame.run(pipeline)
    assert sorted(pipeline.taken) == list(range(20))
    settled(frame)


@pytest.mark.virtual_clock
async def test_buckets_take_chunks() -> None:
    async def feed(bucket: Any) -> None:
        await bucket.put(Chunk(range(5)))
        await bucket.put(5)

    pipeline = Sunk(feed)
    await FakeFrame(buffer_size=2).run(pipeline)
    assert pipeline.taken == list(range(6))


async def test_blocking_buckets_take_chunks() -> None:
    def feed(bucket: Any) -> None:
        bucket.put(Chunk(range(5)))
        bucket.put(5)

    pipeline = Sunk(feed)
    await FakeFrame(buffer_size=2).run(pipeline)
    assert pipeline.taken == list(range(6))


@pytest.mark.virtual_clock
async def test_an_aiostream_of_operators_is_a_feed() -> None:
    pipeline = Sunk(stream.count(interval=0.5) | pipe.map(lambda x, *_: x * 10) | pipe.take(4))
    frame = FakeFrame()
    await frame.run(pipeline)
    assert pipeline.taken == [0, 10, 20, 30]
    settled(frame)


@pytest.mark.virtual_clock
async def test_an_endless_aiostream_is_closed_when_the_consumer_leaves() -> None:
    tap, frame = Tap(), FakeFrame()
    async with frame.stream(Through(CLOSED["aiostream pipe"](tap, None, 0.1))) as results:
        async for result in results:
            if result == 5:
                break
    assert tap.closed == 1
    settled(frame)


@pytest.mark.parametrize("form", [*ON_LOOP, *IN_THREAD])
async def test_an_empty_feed_is_an_empty_run(form: str) -> None:
    frame = FakeFrame()
    feed = ON_LOOP[form](Tap(), 0, 0.0) if form in ON_LOOP else IN_THREAD[form](Tap(), 0)
    report = await frame.run(Sunk(feed))
    assert (report.fed, report.delivered, report.ended_by) == (0, 0, "exhausted")
    settled(frame)


@pytest.mark.virtual_clock
async def test_an_empty_chunk_is_nothing() -> None:
    async def feed() -> AsyncIterator[Any]:
        yield Chunk([])
        yield 1
        yield Chunk([])

    pipeline = Sunk(feed)
    await FakeFrame().run(pipeline)
    assert pipeline.taken == [1]


def raising(error: BaseException) -> dict[str, Any]:
    """Each form, raising after three records."""

    async def asynchronous() -> AsyncIterator[int]:
        for number in range(3):
            yield number
        raise error

    async def in_chunks() -> AsyncIterator[Chunk[int]]:
        yield Chunk(range(3))
        raise error

    def synchronous() -> Iterator[int]:
        yield from range(3)
        raise error

    async def async_bucket(bucket: Any) -> None:
        for number in range(3):
            await bucket.put(number)
        raise error

    def bucket(bucket: Any) -> None:
        for number in range(3):
            bucket.put(number)
        raise error

    return {
        "async generator": asynchronous,
        "chunks": in_chunks,
        "generator": synchronous,
        "async feed(bucket)": async_bucket,
        "feed(bucket)": bucket,
        "aiostream": stream.iterate(asynchronous()),
    }


@pytest.mark.parametrize("form", raising(LookupError("gone")))
async def test_a_feed_that_raises_is_blamed_and_what_it_fed_before_is_processed(form: str) -> None:
    frame = FakeFrame()
    error = LookupError("gone")
    pipeline = Sunk(raising(error)[form])
    with pytest.raises(FeedError, match="the feed of Sunk raised LookupError: gone") as caught:
        await frame.run(pipeline)
    assert caught.value.__cause__ is error
    assert pipeline.taken == [0, 1, 2]
    report = settled(frame)
    assert caught.value.report == report
    assert (report.fed, report.delivered, report.ended_by) == (3, 3, "failed")


@pytest.mark.parametrize("form", raising(LookupError("gone")))
async def test_a_stream_gives_what_was_fed_before_its_feed_raised(form: str) -> None:
    frame, taken = FakeFrame(), []
    with pytest.raises(FeedError):
        async with frame.stream(Through(raising(LookupError("gone"))[form])) as results:
            async for record in results:
                taken.append(record)
    assert taken == [0, 1, 2]
    settled(frame)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("form", ["async generator", "chunks", "async feed(bucket)", "aiostream"])
async def test_a_cancelled_error_of_the_feeds_own_is_the_feeds_error(form: str) -> None:
    frame = FakeFrame()
    pipeline = Sunk(raising(asyncio.CancelledError("not yours"))[form])
    with pytest.raises(FeedError, match="CancelledError"):
        await frame.run(pipeline)
    assert pipeline.taken == [0, 1, 2]
    settled(frame)


@pytest.mark.parametrize("form", ["generator", "feed(bucket)"])
async def test_a_cancelled_error_raised_in_the_feeds_thread_is_the_feeds_error(form: str) -> None:
    frame = FakeFrame()
    with pytest.raises(FeedError, match="CancelledError"):
        await frame.run(Sunk(raising(asyncio.CancelledError("not yours"))[form]))
    settled(frame)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("returned", [7, None, "text", lambda: 7])
async def test_a_function_that_returns_no_feed_is_refused_before_anything_starts(returned: Any) -> None:
    frame = FakeFrame()
    with pytest.raises(ConfigError, match="feed of Through"):
        await frame.run(Through(lambda: returned))
    assert not frame.made


@pytest.mark.virtual_clock
async def test_a_function_that_raises_instead_of_returning_a_feed_is_blamed() -> None:
    def opening() -> Any:
        raise OSError("no such host")

    frame = FakeFrame()
    with pytest.raises(FeedError, match="OSError: no such host"):
        await frame.run(Through(opening))
    settled(frame)


@pytest.mark.virtual_clock
async def test_a_feed_with_an_error_of_its_own_clean_up_is_blamed() -> None:
    async def feed() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise OSError("cannot close")

    frame = FakeFrame()
    with pytest.raises(FeedError, match="OSError: cannot close"):
        await frame.run(Through(feed))
    settled(frame)


@pytest.mark.virtual_clock
async def test_an_error_in_closing_the_feed_is_raised_from_leaving_the_stream_early() -> None:
    async def feed() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(1)
        finally:
            raise OSError("cannot close")

    frame = FakeFrame()
    with pytest.raises(FeedError, match="OSError: cannot close"):
        async with frame.stream(Through(feed)) as results:
            await anext(results)
    settled(frame)
    assert now() < 1


@pytest.mark.parametrize("room", [1, 3, 7, 100])
async def test_a_list_gives_the_records_of_its_chunks_as_there_is_room(room: int) -> None:
    feed = Listed(feed_form([0, Chunk([]), Chunk(range(1, 6)), 6, Chunk([]), Chunk([]), Chunk([7]), Chunk([])], "P"))
    taken = []
    while (some := await feed.take(room)) is not None:
        assert 0 < len(some) <= room
        taken += some
    assert taken == list(range(8))
    assert feed.length is None


async def test_of_a_list_of_chunks_no_more_is_fed_than_there_is_room_for() -> None:
    pipeline = Sunk([Chunk(range(1000))] * 20, source="stream")
    frame = FakeFrame(buffer_size=10)
    await frame.run(pipeline)
    assert pipeline.taken == 20 * list(range(1000))
    assert settled(frame).fed == 20_000
