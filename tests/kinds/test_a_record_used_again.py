"""A feed that yields an object, changes it and yields it again: refused by name, and nothing wrong is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pipeframe_async import Chunk, Delivery, FeedError
from tests.engine.harness import FakeFrame, Sunk, settled

pytestmark = pytest.mark.virtual_clock

FORMS = ["async", "thread", "bucket", "chunk", "delivery"]


def used_again(form: str) -> Any:
    row: dict[str, int] = {}

    async def feed() -> AsyncIterator[Any]:
        for number in range(100):
            row["n"] = number
            yield Chunk([row]) if form == "chunk" else Delivery(row, lambda: None) if form == "delivery" else row

    def plain() -> Iterator[Any]:
        for number in range(100):
            row["n"] = number
            yield row

    async def filled(bucket: Any) -> None:
        for number in range(100):
            row["n"] = number
            await bucket.put(row)

    return {"thread": plain, "bucket": filled}.get(form, feed)


@pytest.mark.parametrize("source", ["stream", "batch"])
@pytest.mark.parametrize("form", FORMS)
async def test_it_is_refused_by_name(form: str, source: str) -> None:
    frame = FakeFrame(buffer_size=20)
    pipeline = Sunk(used_again(form), source=source, timeout=None)
    with pytest.raises(FeedError, match=r"yielded the same dict again.*a copy"):
        await frame.run(pipeline)
    report = settled(frame)
    assert [row["n"] for row in pipeline.taken] == list(range(len(pipeline.taken)))
    assert report.fed == report.delivered + report.aborted


async def test_one_that_was_taken_before_it_comes_again_is_none_of_ours() -> None:
    row: dict[str, int] = {}

    async def feed() -> AsyncIterator[dict[str, int]]:
        for number in range(10):
            row["n"] = number
            yield row
            await asyncio.sleep(1)

    frame, pipeline = FakeFrame(), Sunk(feed, source="stream")
    await frame.run(pipeline)
    assert pipeline.taken == [{"n": number} for number in range(10)]
    settled(frame)


@pytest.mark.parametrize("source", ["stream", "batch"])
async def test_a_list_may_have_the_same_twice_and_a_constant_may_come_again(source: str) -> None:
    async def ticks() -> AsyncIterator[Any]:
        for _ in range(50):
            yield "tick"
            yield None

    for feed, records in (([{"a": 1}] * 100, [{"a": 1}] * 100), (ticks, ["tick", None] * 50)):
        frame, pipeline = FakeFrame(buffer_size=20), Sunk(feed, source=source)
        await frame.run(pipeline)
        assert pipeline.taken == records
        settled(frame)
