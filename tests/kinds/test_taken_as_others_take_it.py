"""What every pool takes is taken: decorated steps, iterables of any kind, flags of numpy; or it is said what to do."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy
import pytest

from pipeframe_async import ConfigError, FeedError, PipeFrame, PipelineEngine, apply
from pipeframe_async._engine.feeding import spill
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Sunk


def with_ten(function: Callable[..., Any]) -> Callable[..., Any]:
    """Passes one argument more than it gets."""

    @functools.wraps(function)
    def inner(record: Any) -> Any:
        return function(record, 10)

    return inner


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Passes on what it gets."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@with_ten
def scale(record: int, factor: int) -> Any:
    return record * factor, True


@logged
def double(record: int) -> Any:
    return 2 * record, True


class Decorated(PipelineEngine[int, int]):
    steps: Any = (double, scale)

    def __init__(self) -> None:
        self.taken: list[int] = []

    @logged
    def feed(self, bucket: Any) -> None:
        for number in range(5):
            bucket.put(number)

    @logged
    def sink(self, results: list[int]) -> None:
        self.taken += results

    @with_ten
    def setup(self, factor: int) -> None: ...


async def test_a_decorator_may_pass_more_than_it_gets_and_pass_on_what_it_gets() -> None:
    class Right(Decorated):
        @logged
        def setup(self) -> None: ...

    await PipeFrame(1).run(pipeline := Right())
    assert pipeline.taken == [0, 20, 40, 60, 80]


async def test_a_function_that_takes_more_than_a_record_is_refused_as_ever() -> None:
    class Wrong(Decorated):
        steps = (scale.__wrapped__,)  # type: ignore[attr-defined]

        def setup(self) -> None: ...

    with pytest.raises(ConfigError, match=r"steps\[0\] \(scale\) cannot be called with one record.*factor"):
        await PipeFrame(1).run(Wrong())


class Numbered:
    """An iterable as they were before `__iter__`."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getitem__(self, index: int) -> int:
        if index >= self.count:
            raise IndexError(index)
        return index


class Both:
    """Can be iterated either way, as a progress bar is; says where it was."""

    def __init__(self, iterable: Any) -> None:
        self.iterable = iterable
        self.where: list[threading.Thread] = []

    def __iter__(self) -> Iterator[int]:
        self.where.append(threading.current_thread())
        yield from self.iterable

    async def __aiter__(self) -> AsyncIterator[int]:
        self.where.append(threading.current_thread())
        async for record in self.iterable:
            yield record


async def two() -> AsyncIterator[int]:
    yield 0
    yield 1


@pytest.mark.parametrize("source", ["batch", "stream"])
async def test_the_sequence_protocol_makes_a_feed(source: str) -> None:
    await PipeFrame(executor=FakeExecutor()).run(pipeline := Sunk(Numbered(50), source=source))
    assert pipeline.taken == list(range(50))


@pytest.mark.parametrize(("make", "on_the_loop"), [(lambda: range(2), False), (two, True)])
async def test_what_can_be_iterated_either_way_is_pulled_where_it_cannot_block(
    make: Callable[[], Any], on_the_loop: bool
) -> None:
    await PipeFrame(executor=FakeExecutor()).run(pipeline := Sunk(both := Both(make())))
    assert pipeline.taken == [0, 1]
    assert [thread is threading.main_thread() for thread in both.where] == [on_the_loop]


def rows_of(database: sqlite3.Connection) -> Iterator[Any]:
    yield from database.execute("select 1")


def put_rows_of(database: sqlite3.Connection, bucket: Any) -> None:
    for row in database.execute("select 1"):
        bucket.put(row)


@pytest.mark.parametrize(
    "feed_of",
    [
        lambda database: database.execute("select 1"),
        lambda database: lambda: database.execute("select 1"),
        lambda database: functools.partial(rows_of, database),
        lambda database: functools.partial(put_rows_of, database),
    ],
)
async def test_a_cursor_that_must_stay_in_its_thread_is_told_where_to_be_opened(feed_of: Callable[..., Any]) -> None:
    told = r"(?s)SQLite objects.*open there what must stay in one thread.*def feed"
    with sqlite3.connect(":memory:") as database, pytest.raises(FeedError, match=told):
        await PipeFrame(executor=FakeExecutor()).run(Sunk(feed_of(database)))


def large(value: Any) -> Any:
    return value, value > 2


async def large_on_the_loop(value: Any) -> Any:
    return value, value > 2


def large_ones(value: Any) -> Any:
    yield value, value > 2


@pytest.mark.parametrize("step", [large, large_on_the_loop, large_ones])
async def test_a_comparison_of_numpy_says_whether_a_record_goes_on(step: Any) -> None:
    pipeline = Sunk(numpy.arange(5), steps=[step, apply(lambda value: -value)])
    await PipeFrame(executor=FakeExecutor()).run(pipeline)
    assert [int(value) for value in pipeline.taken] == [0, 1, 2, -3, -4]


class OneOrZero:
    """Says it is a bool of numpy's, and is none."""


OneOrZero.__name__ = "bool_"


@pytest.mark.parametrize("flag", [1, None, "yes", OneOrZero(), numpy.array([True])])
async def test_nothing_else_does(flag: Any) -> None:
    def odd(value: Any) -> Any:
        return value, flag

    pipeline = Sunk([1], steps=[odd], max_failures=None)
    report = await PipeFrame(executor=FakeExecutor()).run(pipeline)
    assert (report.failed, report.delivered) == (1, 0)


@pytest.mark.parametrize("feed", [list(range(300)), tuple(range(300)), range(300), lambda: list(range(300))])
async def test_what_is_there_already_is_not_written_to_disk(feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(self: Any, record: Any) -> None:
        raise AssertionError("it was on its way to the disk")

    monkeypatch.setattr(spill.Spill, "put", put)
    frame = PipeFrame(executor=FakeExecutor(), buffer_size=10)
    report = await frame.run(pipeline := Sunk(feed, source="batch", timeout=0.001))
    assert (pipeline.taken, report.ended_by) == (list(range(300)), "exhausted")


class Doubled(list[int]):
    """Iterates as it likes."""

    def __iter__(self) -> Iterator[int]:
        for number in super().__iter__():
            yield number
            yield -number


async def test_a_list_of_its_own_kind_is_iterated() -> None:
    await PipeFrame(executor=FakeExecutor()).run(pipeline := Sunk(Doubled([1, 2])))
    assert pipeline.taken == [1, -1, 2, -2]
