"""This library on the work, as its user would write it: default knobs, two workers, no size of anything chosen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.peers import WORKERS
from benchmarks.work import Done
from pipeframe_async import Chunk, PipeFrame, PipelineEngine


class Trivial(PipelineEngine[int, int]):
    """The three steps."""

    source = "stream"
    steps = work.STEPS


class Counted(Trivial):
    """The three steps, where nobody wants results: each worker leaves its checksum in a file when it ends."""

    def __init__(self, place: str) -> None:
        self.place = place

    def teardown(self) -> None:
        """Say what this worker did."""
        with tempfile.NamedTemporaryFile("w", dir=self.place, delete=False) as file:
            file.write(str(work.total))


def counting(records: int) -> Done:
    """`await frame.run(P)` with a plain generator."""
    return asyncio.run(_count(work.feed(records)))


def counting_async_feed(records: int) -> Done:
    """`await frame.run(P)` with an async generator, one record a yield."""
    return asyncio.run(_count(work.async_feed(records)))


def counting_chunk_feed(records: int) -> Done:
    """`await frame.run(P)` with an async generator that yields a `Chunk` of a thousand."""
    return asyncio.run(_count(_chunks(records)))


def results(records: int) -> Done:
    """`frame.stream(P)` with a plain generator; the consumer looks at each result."""
    return asyncio.run(_results(work.feed(records)))


async def _count(feed: Any) -> Done:
    with tempfile.TemporaryDirectory() as place:
        report = await PipeFrame(cpu_count=WORKERS).run(Counted(place), feed)
        return Done(report.delivered, _left_in(place))


def _left_in(place: str) -> int:
    return sum(int(file.read_text()) for file in Path(place).iterdir())


async def _results(feed: Any) -> Done:
    count = checksum = 0
    async with PipeFrame(cpu_count=WORKERS).stream(Trivial, feed) as stream:
        async for result in stream:
            count += 1
            checksum += result
    return Done(count, checksum)


async def _chunks(records: int) -> AsyncIterator[Chunk[int]]:
    """The feed as an async generator of many records a yield, as a source that reads pages would have it."""
    for start in range(0, records, 1_000):
        yield Chunk(range(start, min(start + 1_000, records)))
