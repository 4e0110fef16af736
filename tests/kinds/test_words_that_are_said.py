"""What would be lost without a word is said: in the log, in the report, or as an error."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pipeframe_async import Chunk, ConfigError, FeedError, PipelineEngine, PipelineFailed, StateError, run
from tests.engine.harness import FakeFrame, Sunk, now, passing

pytestmark = pytest.mark.virtual_clock


async def test_a_feed_that_is_ended_while_it_is_at_work_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def feed() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(2.5)
        yield 2

    with caplog.at_level(logging.WARNING):
        report = await FakeFrame().run(Sunk(feed))
    assert (report.ended_by, report.fed) == ("idle", 1)
    assert "the feed of Sunk gave nothing for timeout=2 s" in caplog.text
    assert "timeout=None" in caplog.text
    assert "The feed had not ended" in str(report)


async def test_a_feed_that_has_ended_is_not(caplog: pytest.LogCaptureFixture) -> None:
    report = await FakeFrame().run(Sunk(range(3)))
    assert caplog.text == ""
    assert "had not ended" not in str(report)


@pytest.mark.parametrize("feed", [itertools.count(3), itertools.cycle([1]), itertools.repeat(1)])
async def test_a_batch_that_is_known_to_have_no_end_is_refused(feed: Any) -> None:
    for streams in (False, True):
        with pytest.raises(ConfigError) as caught:
            if streams:
                async with FakeFrame().stream(Sunk(source="batch"), feed):
                    pass
            else:
                await FakeFrame().run(Sunk(source="batch"), feed)
        assert str(caught.value) == (
            f"the feed of Sunk is {feed!r}, which has no end, and Sunk.source is 'batch', where no step runs before it "
            "has ended: write source = 'stream'"
        )


async def test_a_repetition_that_ends_is_a_batch() -> None:
    assert (await FakeFrame().run(Sunk(source="batch"), itertools.repeat(1, 3))).delivered == 3


async def test_a_put_that_nobody_has_awaited_is_an_error() -> None:
    kept: list[Any] = []

    async def feed(bucket: Any) -> None:
        await bucket.put(1)
        kept.extend(bucket.put(n) for n in (2, 3))

    pipeline = Sunk(feed)
    with pytest.raises(FeedError, match=r"StateError: a bucket\.put was not awaited"):
        await FakeFrame().run(pipeline)
    assert pipeline.taken == [1]
    for put in kept:
        put.close()


@pytest.mark.parametrize("endless", [False, True])
async def test_a_put_that_is_let_go_without_being_awaited_is_an_error_at_once(endless: bool) -> None:
    async def feed(bucket: Any) -> None:
        bucket.put(1)
        while endless:
            await asyncio.sleep(0.01)

    with pytest.raises(FeedError) as caught:
        await FakeFrame().run(Sunk(feed))
    assert str(caught.value) == (
        "the feed of Sunk raised StateError: a bucket.put was not awaited, so what it was given was not handed over: "
        "write `await bucket.put(record)`"
    )


async def test_a_put_may_be_a_task_and_be_gathered() -> None:
    async def feed(bucket: Any) -> None:
        await asyncio.gather(bucket.put(1), bucket.put(2))
        await asyncio.create_task(bucket.put(Chunk([3, 4])))
        await asyncio.wait_for(bucket.put(5), 10)
        dropped = asyncio.create_task(bucket.put(6))
        dropped.cancel()
        bucket.put(7).close()
        await asyncio.sleep(0)

    pipeline = Sunk(feed)
    await FakeFrame().run(pipeline)
    assert pipeline.taken == [1, 2, 3, 4, 5]


class Live(PipelineEngine[int, int]):
    """A source that goes on; how it is fed is not said."""

    steps = (passing,)

    async def feed(self) -> AsyncIterator[int]:
        for number in range(5):
            yield number
        await asyncio.sleep(100)
        yield 5


class Whole(Live):
    source = "batch"


async def test_a_pipeline_that_does_not_say_how_it_is_fed_streams_where_its_results_are_iterated() -> None:
    began = now()
    async with FakeFrame().stream(Live()) as results:
        assert [await anext(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        assert now() - began < 1
        assert [result async for result in results] == [5]
    assert results.report.ended_by == "exhausted"


@pytest.mark.parametrize("make", [Live, Whole])
async def test_a_batch_feed_that_does_not_end_is_worth_a_word(
    make: Callable[[], Live], caplog: pytest.LogCaptureFixture
) -> None:
    report = await FakeFrame().run(make())
    assert report.delivered == 6
    (word,) = [record.getMessage() for record in caplog.records]
    assert word.startswith(f"the feed of {make.__name__} has not ended for 5 s, and no step has run: source='batch', ")
    assert word.endswith("For a feed that goes on, set source='stream' (and timeout=None, where it may be quiet)")


async def test_what_says_batch_is_fed_as_it_says_also_where_its_results_are_iterated() -> None:
    began = now()
    async with FakeFrame().stream(Whole()) as results:
        assert await anext(results) == 0
        assert now() - began >= 100


@pytest.mark.parametrize(
    "ask",
    [
        lambda frame: frame.run(Live),
        lambda frame: frame.__aenter__(),
        lambda frame: frame.call(Live, 1),
        lambda frame: frame.ready(Live),
    ],
)
def test_without_a_loop_of_asyncio_the_way_out_is_said(ask: Callable[[FakeFrame], Any]) -> None:
    with pytest.raises(StateError, match=r"needs asyncio's event loop, and none runs here.*frame\.portal\(\)"):
        ask(FakeFrame()).send(None)  # as another kind of loop would


def test_a_frame_of_a_loop_that_is_closed_says_so() -> None:
    frame = FakeFrame()
    opened = asyncio.new_event_loop()
    opened.run_until_complete(frame.__aenter__())
    opened.close()
    with pytest.raises(StateError, match="opened on an event loop that is closed by now: make another PipeFrame"):
        asyncio.run(frame.call(Live, 1))
    with pytest.raises(StateError, match="make another PipeFrame"):
        asyncio.run(frame.__aenter__())


def returns_one(n: int) -> Any:
    return n


def says_yes(n: int) -> Any:
    return n > 0


def says_so_with_an_int(n: int) -> Any:
    return n, 1


def wraps_a_coroutine(n: int) -> Any:
    async def awaits() -> None: ...

    return awaits()


def wraps_an_async_generator(n: int) -> Any:
    async def yields() -> AsyncIterator[Any]:
        yield n, True

    return yields()


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        (returns_one, "pairs. Does it return the next record? Then write apply(returns_one)"),
        (says_yes, "pairs. Does it say yes or no? Then write keep_if(says_yes)"),
        (says_so_with_an_int, "The second of the pair is of type int, and must be True or False"),
        (
            wraps_a_coroutine,
            "It is a coroutine: a step that awaits is written as `async def`, and so is what decorates it",
        ),
        (
            wraps_an_async_generator,
            "It is an async generator: a step that awaits is written as `async def`, and so is what decorates it",
        ),
    ],
)
async def test_a_wrong_outcome_is_told_what_was_meant(step: Any, remedy: str) -> None:
    with pytest.raises(PipelineFailed, match="expected") as caught:
        await FakeFrame().run(Sunk([1], steps=[step]))
    assert caught.value.failures[0].message.endswith(remedy)


async def test_a_method_without_self_is_told_so() -> None:
    class Selfless(Sunk):
        def double(record: Any) -> Any:  # noqa: N805 - what is wrong with it
            return record, True

        steps = (double,)

    with pytest.raises(
        ConfigError, match=r"it is a method: `def double\(self, record\)`, or put @staticmethod above it"
    ):
        await FakeFrame().run(Selfless([1]))


async def test_a_feed_without_a_yield_is_told_so() -> None:
    class Nothing(Sunk):
        def feed(self) -> Any: ...

    with pytest.raises(ConfigError, match="the feed of Nothing returned None: is a `yield` missing in it"):
        await FakeFrame().run(Nothing())


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"timeout": 3}, "it belongs to the pipeline: set `timeout` in its class"),
        ({"max_workers": 2}, "did you mean cpu_count"),
        ({"cpu_cuont": 2}, "did you mean cpu_count"),
        ({"colour": "red"}, "there are cpu_count, buffer_size"),
    ],
)
def test_an_option_that_is_none_is_told_where_it_belongs(option: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run(Live, **option)
