"""This library on a workload, as its user would write it: default knobs, two workers, no size of anything chosen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.contestants.ours_pipelines import Counted, Steps
from benchmarks.contestants.peers import WORKERS
from benchmarks.works.workload import Done, Workload
from pipeframe_async import Chunk, PipeFrame


def counting(workload: Workload, records: int, executor: str | None = None) -> Done:
    """`await frame.run(P)` with a plain generator."""
    return asyncio.run(_count(workload, workload.feed(records), executor))


def counting_async_feed(workload: Workload, records: int, executor: str | None = None) -> Done:
    """`await frame.run(P)` with an async generator, one record a yield."""
    return asyncio.run(_count(workload, workload.async_feed(records), executor))


def counting_chunk_feed(workload: Workload, records: int, executor: str | None = None) -> Done:
    """`await frame.run(P)` with an async generator that yields a `Chunk` for each page of the source."""
    if workload.pages is None:
        raise ValueError(f"{workload.title}: has no pages")
    return asyncio.run(_count(workload, _chunks(workload.pages(records)), executor))


def results(workload: Workload, records: int, executor: str | None = None) -> Done:
    """`frame.stream(P)` with a plain generator; the consumer looks at each result."""
    return asyncio.run(_results(workload, workload.feed(records), executor))


class Way(Protocol):
    """One way to use this library on a number of records."""

    def __call__(self, workload: Workload, records: int, executor: str | None = None) -> Done: ...


WAYS: dict[str, tuple[str, Way]] = {
    "ours": ("ours", counting),
    "ours_async_feed": ("ours, async feed", counting_async_feed),
    "ours_chunk_feed": ("ours, Chunk feed", counting_chunk_feed),
    "ours_results": ("ours, with results", results),
}
"""By key, with the label for people."""


async def _count(workload: Workload, feed: Any, executor: str | None) -> Done:
    with tempfile.TemporaryDirectory() as place:
        frame = PipeFrame(cpu_count=WORKERS, executor=executor)
        report = await frame.run(Counted(workload, place), feed)
        return Done(report.delivered, sum(int(file.read_text()) for file in Path(place).iterdir()))


async def _results(workload: Workload, feed: Any, executor: str | None) -> Done:
    """As `Workload.look`, in an `async for`."""
    weigh, last = workload.weigh, workload.below
    count, checksum, in_order = 0, 0, True
    async with PipeFrame(cpu_count=WORKERS, executor=executor).stream(Steps(workload), feed) as stream:
        async for result in stream:
            count += 1
            checksum += weigh(result)
            if result <= last:
                in_order = False
            last = result
    return Done(count, checksum, in_order)


async def _chunks(pages: Iterator[Sequence[Any]]) -> AsyncIterator[Chunk[Any]]:
    for page in pages:
        yield Chunk(page)
