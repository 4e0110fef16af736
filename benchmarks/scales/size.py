"""Does a record cost the same, however many there are? Nanoseconds a record in a warm frame, by size of the feed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Asked, Spread
from benchmarks.asking.table import aligned
from benchmarks.contestants.ours_pipelines import Steps
from benchmarks.contestants.peers import WORKERS
from benchmarks.works.trivial import TRIVIAL, expected
from pipeframe_async import PipeFrame

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000, 10_000_000), (100, 1_000, 10_000, 20_000)
LEAST = 1_000_000
"""Records of a turn: small feeds are run more than once, back to back, so that a turn is no blink of an eye."""

Way = Callable[[PipeFrame, int], Awaitable[int]]


async def counting(frame: PipeFrame, records: int) -> int:
    """`frame.run(P)` with a plain generator."""
    return (await frame.run(Steps(TRIVIAL), TRIVIAL.feed(records))).delivered


async def counting_async_feed(frame: PipeFrame, records: int) -> int:
    """`frame.run(P)` with an async generator."""
    return (await frame.run(Steps(TRIVIAL), TRIVIAL.async_feed(records))).delivered


async def results(frame: PipeFrame, records: int) -> int:
    """`frame.stream(P)` with a plain generator; each result is looked at."""
    count = checksum = 0
    async with frame.stream(Steps(TRIVIAL), TRIVIAL.feed(records)) as stream:
        async for result in stream:
            count += 1
            checksum += result
    if checksum != expected(records).checksum:
        raise WrongWork(f"a checksum of {checksum} for {records} records")
    return count


WAYS: dict[str, tuple[str, Way]] = {
    "ours": ("ours", counting),
    "ours_async_feed": ("ours, async feed", counting_async_feed),
    "ours_results": ("ours, with results", results),
}


def measured(asked: Asked) -> list[dict[str, Any]]:
    """Nanoseconds a record of each way and size."""
    sizes = QUICK_SIZES if asked.quick else SIZES
    cells = [(key, size) for size in sizes for key in WAYS]
    found = asyncio.run(_all(asked, cells))
    return [
        {
            "key": key,
            "label": label,
            "sizes": [{"records": size, "ns": asdict(Spread.of(found[key, size]))} for size in sizes],
        }
        for key, (label, _) in WAYS.items()
    ]


async def _all(asked: Asked, cells: list[tuple[str, int]]) -> dict[tuple[str, int], list[float]]:
    found: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    least = max(size for _, size in cells) if asked.quick else LEAST
    async with PipeFrame(cpu_count=WORKERS) as frame:
        await counting(frame, 1_000)
        for key, size in asked.turns(cells):
            found[key, size].append(await _timed(frame, WAYS[key][1], size, max(1, least // size)))
    return found


async def _timed(frame: PipeFrame, way: Way, size: int, times: int) -> float:
    """Nanoseconds a record of so many runs."""
    gc.collect()
    started = time.perf_counter()
    for _ in range(times):
        if (delivered := await way(frame, size)) != size:
            raise WrongWork(f"{delivered} of {size} records delivered")
    return 1e9 * (time.perf_counter() - started) / size / times


def text(rows: list[dict[str, Any]]) -> str:
    """For people."""
    sizes = [size["records"] for size in rows[0]["sizes"]]
    head = ["ns a record, warm frame", *(f"{size:,}" for size in sizes)]
    return aligned([head, *([row["label"], *_cells(row)] for row in rows)])


def _cells(row: dict[str, Any]) -> Iterator[str]:
    for size in row["sizes"]:
        yield Spread(**size["ns"]).words(digits=0)
