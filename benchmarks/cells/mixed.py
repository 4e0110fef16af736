"""One contestant takes records through a mixed chain: `python -m benchmarks.cells.mixed KEY RECORDS` prints JSON.

Each record is fetched (20 ms of waiting), worked on (2 ms of CPU) and stored (5 ms of waiting); results in feed order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing import get_context

import uvloop

from benchmarks.contestants.peers import WORKERS
from benchmarks.works.cpu import rounds_in, turned
from pipeframe_async import PipeFrame, PipelineEngine, apply

FETCH_SECONDS, WORK_SECONDS, STORE_SECONDS = 0.020, 0.002, 0.005
AT_A_TIME = 64
"""Records that are fetched at a time, and stored."""


async def fetch(record: int) -> int:
    """Wait for it."""
    await asyncio.sleep(FETCH_SECONDS)
    return record


async def store(record: int) -> int:
    """Wait until it is stored."""
    await asyncio.sleep(STORE_SECONDS)
    return record


async def ours(records: int, rounds: int) -> list[int]:
    """The chain as it is thought of."""

    class Mixed(PipelineEngine[int, int]):
        source = "stream"
        steps = [apply(fetch), apply(partial(turned, rounds=rounds)), apply(store)]
        feed = range(records)

    async with PipeFrame(WORKERS).stream(Mixed) as results:
        return [result async for result in results]


async def windowed(records: int, one: Callable[[int], Awaitable[int]], window: int) -> list[int]:
    """A task a record, so many at a time, results in order."""
    under_way: deque[asyncio.Future[int]] = deque()
    done: list[int] = []
    for record in range(records):
        if len(under_way) >= window:
            done.append(await under_way.popleft())
        under_way.append(asyncio.ensure_future(one(record)))
    while under_way:
        done.append(await under_way.popleft())
    return done


async def by_hand(records: int, rounds: int, window: int = 2 * AT_A_TIME) -> list[int]:
    """What a good engineer writes in an afternoon: semaphores, a pool, a window."""
    fetching, storing = asyncio.Semaphore(AT_A_TIME), asyncio.Semaphore(AT_A_TIME)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("forkserver")) as pool:

        async def one(record: int) -> int:
            async with fetching:
                record = await fetch(record)
            record = await loop.run_in_executor(pool, turned, record, rounds)
            async with storing:
                return await store(record)

        return await windowed(records, one, window)


async def one_by_one(records: int, rounds: int) -> list[int]:
    """The same with the window as wide as the workers: what is written in five minutes."""
    return await by_hand(records, rounds, WORKERS)


def spdl(records: int, rounds: int) -> list[int]:
    """Its pipeline, with a process pool for the middle stage."""
    builder = import_module("spdl.pipeline").PipelineBuilder()
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("forkserver")) as pool:
        builder = builder.add_source(range(records)).pipe(fetch, concurrency=AT_A_TIME, output_order="input")
        work = partial(turned, rounds=rounds)
        builder = builder.pipe(work, executor=pool, concurrency=2 * WORKERS, output_order="input")
        builder = builder.pipe(store, concurrency=AT_A_TIME, output_order="input").add_sink(AT_A_TIME)
        pipeline = builder.build(num_threads=WORKERS)
        with pipeline.auto_stop():
            return list(pipeline)


WAYS: dict[str, Callable[[int, int], Awaitable[list[int]]]] = {"ours": ours, "by_hand": by_hand, "width": one_by_one}


def main(key: str, records: int, rounds: int) -> None:
    """Run it, and say how long that took, from nothing to the end."""
    started = time.perf_counter()
    if key == "spdl":
        done = spdl(records, rounds)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            done = runner.run(_whole(WAYS[key](records, rounds)))
    seconds = time.perf_counter() - started
    right = done == [turned(record, rounds) for record in range(records)] if records <= 500 else len(done) == records
    print(json.dumps({"seconds": seconds, "right": right}))


async def _whole(work: Awaitable[list[int]]) -> list[int]:
    return await work


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or rounds_in(WORK_SECONDS))
