"""Which kind of feed something is: seen without calling it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import aiostream
import pytest

from pipeframe_async._rules.feed_forms import Feed, Form, feed_form
from pipeframe_async.errors import ConfigError
from pipeframe_async.model import Chunk


async def yields_async() -> AsyncIterator[int]:
    yield 1


def yields() -> Iterator[int]:
    yield 1


async def fills_async(bucket: Any) -> None:
    await bucket.put(1)


def fills(bucket: Any) -> None:
    bucket.put(1)


def returns() -> list[int]:
    return [1]


async def never_yields() -> list[int]:
    return [1]


async def both(bucket: Any) -> AsyncIterator[int]:
    yield bucket


def both_sync(bucket: Any) -> Iterator[int]:
    yield bucket


def takes_two(bucket: Any, path: str) -> None: ...


def takes_one_more_by_name(bucket: Any, *, path: str) -> None: ...


class Feeds:
    """The same as methods."""

    async def yields_async(self) -> AsyncIterator[int]:
        yield 1

    def yields(self) -> Iterator[int]:
        yield 1

    async def fills_async(self, bucket: Any) -> None:
        await bucket.put(1)

    def fills(self, bucket: Any) -> None:
        bucket.put(1)

    @staticmethod
    def fills_statically(bucket: Any) -> None:
        bucket.put(1)

    @classmethod
    def fills_by_class(cls, bucket: Any) -> None:
        bucket.put(1)


class Calling:
    def __call__(self) -> list[int]:
        return [1]


class CallingAsync:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


class Iterable:
    def __iter__(self) -> Iterator[int]:
        return iter([1])


class CallableIterable(Iterable):
    def __call__(self) -> list[int]:
        raise AssertionError("an object that can be iterated is a feed as it is")


class AsyncIterable:
    def __aiter__(self) -> AsyncIterator[int]:
        return yields_async()


@pytest.mark.parametrize(
    ("feed", "form", "called"),
    [
        (yields_async, Form.ASYNC, True),
        (Feeds().yields_async, Form.ASYNC, True),
        (partial(yields_async), Form.ASYNC, True),
        (CallingAsync(), Form.ASYNC, True),
        (AsyncIterable(), Form.ASYNC, False),
        (yields, Form.SYNC, True),
        (Feeds().yields, Form.SYNC, True),
        (partial(yields), Form.SYNC, True),
        ([1], Form.SYNC, False),
        (range(3), Form.SYNC, False),
        ({1: 2}, Form.SYNC, False),
        (iter([1]), Form.SYNC, False),
        (Iterable(), Form.SYNC, False),
        (CallableIterable(), Form.SYNC, False),
        (fills_async, Form.ASYNC_BUCKET, False),
        (Feeds().fills_async, Form.ASYNC_BUCKET, False),
        (fills, Form.SYNC_BUCKET, False),
        (Feeds().fills, Form.SYNC_BUCKET, False),
        (Feeds.fills_statically, Form.SYNC_BUCKET, False),
        (Feeds().fills_statically, Form.SYNC_BUCKET, False),
        (Feeds.fills_by_class, Form.SYNC_BUCKET, False),
        (partial(takes_two, path="orders"), Form.SYNC_BUCKET, False),
        (partial(takes_one_more_by_name, path="orders"), Form.SYNC_BUCKET, False),
        (lambda bucket=None: None, Form.SYNC_BUCKET, False),
        (returns, Form.RETURNS, False),
        (lambda: [1], Form.RETURNS, False),
        (lambda limit=5: [1] * limit, Form.RETURNS, False),
        (Calling(), Form.RETURNS, False),
    ],
)
def test_every_form_of_feed_is_told_by_its_looks(feed: Any, form: Form, called: bool) -> None:
    assert feed_form(feed, "Orders") == Feed(form, feed, called=called)


def test_a_generator_is_pulled_as_it_is() -> None:
    feed = yields()
    assert feed_form(feed, "Orders") == Feed(Form.SYNC, feed)
    assert next(feed) == 1  # nothing of it was taken


async def test_an_async_generator_is_pulled_as_it_is() -> None:
    feed = yields_async()
    assert feed_form(feed, "Orders") == Feed(Form.ASYNC, feed)
    assert await anext(feed) == 1


def test_a_stream_of_aiostream_is_known() -> None:
    feed = aiostream.stream.range(3)
    assert feed_form(feed, "Orders") == Feed(Form.STREAM, feed)


def exhausted() -> Iterator[int]:
    feed = yields()
    list(feed)
    return feed


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: None, "has no feed: write"),
        (never_yields, "is a coroutine: it returns once and yields nothing; write"),
        (lambda: never_yields, "coroutine function that never yields: write"),
        (lambda: "orders.jsonl", "is str 'orders.jsonl', not records: write"),
        (lambda: b"x" * 99, "is bytes b'" + "x" * 40 + "', not records"),
        (lambda: bytearray(b"ab"), "not records"),
        (lambda: both, "takes a bucket and yields as well: do one or the other"),
        (lambda: both_sync, "takes a bucket and yields as well"),
        (lambda: takes_two, r"takes 2 arguments \(bucket, path\): it may take a bucket, or nothing"),
        (lambda: takes_one_more_by_name, r"takes 2 arguments \(bucket, path\)"),
        (exhausted, "generator that is used up or running: make a new one"),
        (lambda: 42, r"is 42 \(int\), which yields nothing: write"),
        (lambda: Chunk([1]), r"\(Chunk\), which yields nothing: write"),
    ],
)
def test_what_is_no_feed_is_refused_with_the_owner_and_the_remedy(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        feed_form(make(), "Orders")
    assert "Orders" in str(caught.value)


async def test_an_async_generator_that_is_used_up_is_refused() -> None:
    feed = yields_async()
    assert [record async for record in feed] == [1]
    with pytest.raises(ConfigError, match="async generator that is used up or running: make a new one"):
        feed_form(feed, "Orders")


def test_a_generator_that_is_running_is_refused() -> None:
    def asks() -> Iterator[int]:
        feed_form(feed, "Orders")
        yield 1

    feed = asks()
    with pytest.raises(ConfigError, match="used up or running"):
        next(feed)


def test_a_builtin_without_a_signature_is_called_for_its_feed() -> None:
    assert feed_form(iter, "Orders").form is Form.RETURNS
