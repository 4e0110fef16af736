"""An async feed that puts: its task, and the records between it and intake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import Chunk, StateError
from pipeframe_async._engine.feeding.bucket import AsyncBucket, BucketPump

pytestmark = pytest.mark.virtual_clock


def putting(*records: Any, seen: list[Any] | None = None) -> Any:
    async def feed(bucket: AsyncBucket) -> None:
        for record in records:
            await bucket.put(record)
            if seen is not None:
                seen.append(record)

    return feed


async def all_of(pump: BucketPump, room: int = 2) -> list[Any]:
    taken: list[Any] = []
    while (records := await pump.take(room)) is not None:
        assert 0 < len(records) <= room
        taken += records
    await pump.aclose(1.0)
    return taken


async def test_all_that_was_put_comes_in_order_and_then_none() -> None:
    assert await all_of(BucketPump(putting(*range(7)))) == list(range(7))


async def test_a_put_waits_for_room() -> None:
    seen: list[int] = []
    pump = BucketPump(putting(*range(9), seen=seen))
    await asyncio.sleep(1)
    assert seen == []  # nobody has asked for any
    assert await pump.take(3) == [0, 1, 2]
    await asyncio.sleep(1)
    assert seen == [0, 1, 2]
    await pump.aclose(1.0)


async def test_a_chunk_is_put_record_by_record() -> None:
    assert await all_of(BucketPump(putting(Chunk([1, 2, 3]), 4, Chunk([])))) == [1, 2, 3, 4]


async def test_a_feed_that_returns_without_a_record_has_ended() -> None:
    pump = BucketPump(putting())
    assert await pump.take(1) is None
    await pump.aclose(1.0)


async def test_what_the_feed_raises_comes_after_what_it_has_put() -> None:
    async def feed(bucket: AsyncBucket) -> None:
        await bucket.put(1)
        raise OSError("torn")

    pump = BucketPump(feed)
    assert await pump.take(5) == [1]
    with pytest.raises(OSError, match="torn"):
        await pump.take(5)
    await pump.aclose(1.0)


async def test_a_put_after_the_feed_has_returned_is_refused() -> None:
    buckets: list[AsyncBucket] = []

    async def feed(bucket: AsyncBucket) -> None:
        buckets.append(bucket)

    pump = BucketPump(feed)
    assert await pump.take(1) is None
    with pytest.raises(StateError, match="after the feed had returned"):
        await buckets[0].put(1)
    await pump.aclose(1.0)


async def test_a_put_that_waits_while_the_feed_returns_is_refused() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def feed(bucket: AsyncBucket) -> None:
        tasks.append(asyncio.ensure_future(bucket.put("late")))
        await asyncio.sleep(1)

    pump = BucketPump(feed)
    await asyncio.sleep(2)
    with pytest.raises(StateError):
        await tasks[0]
    assert await pump.take(1) is None
    await pump.aclose(1.0)


async def test_a_put_that_was_cancelled_has_handed_nothing_over() -> None:
    async def feed(bucket: AsyncBucket) -> None:
        await bucket.put(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await bucket.put("cancelled")
        await bucket.put(2)

    pump = BucketPump(feed)
    assert await pump.take(1) == [0]
    await asyncio.sleep(2)
    assert await all_of(pump, 1) == [2]


async def test_what_was_put_and_not_taken_is_the_rest_once() -> None:
    async def feed(bucket: AsyncBucket) -> None:
        await bucket.put(0)
        await asyncio.sleep(1)
        await bucket.put(Chunk(range(1, 9)))

    pump = BucketPump(feed)
    assert await pump.take(4) == [0]
    await asyncio.sleep(2)
    await pump.aclose(1.0)
    assert pump.rest() == [1, 2, 3]  # there was room for so many
    assert pump.rest() == []


async def test_closing_cancels_the_feed_and_waits_for_its_clean_up() -> None:
    cleaned: list[bool] = []

    async def feed(bucket: AsyncBucket) -> None:
        try:
            await bucket.put(1)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append(True)

    pump = BucketPump(feed)
    await asyncio.sleep(0)
    await pump.aclose(1.0)
    assert cleaned == [True]


async def test_an_error_in_the_clean_up_is_nobodys() -> None:
    async def feed(bucket: AsyncBucket) -> None:
        try:
            await bucket.put(1)
        finally:
            raise OSError("gone")

    pump = BucketPump(feed)
    await asyncio.sleep(0)
    await pump.aclose(1.0)
