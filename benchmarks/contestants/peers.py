"""The peers in the standard library: other ways to take the same records through the same steps with two workers.

Each is what its user would write, without mistakes that would slow it down. Where a number has to be found
by trying (the size of a chunk, the width of a semaphore), `asking/measure.py` tries and keeps the best.
Workers start by forkserver everywhere, as ours do.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.pool
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

from benchmarks.works.workload import Chunks, Done, Workload, added_up

WORKERS = 2
WINDOW = 3 * WORKERS
"""Chunks a pool is given ahead. Fewer let a worker wait for the parent; more only hold memory."""
BUFFER_SIZE = 10_000
"""Records between feed and workers in the original's design; its default."""
NEVER = 600.0
"""Seconds to wait for a record that is sure to come; a wait without a limit would not cost what the original's does."""
PRELOADED = [
    "benchmarks.asking.each_work",
    "benchmarks.works.trivial",
    "benchmarks.works.lines",
    "benchmarks.works.cpu",
    "concurrent.futures.process",
    "multiprocessing.pool",
    "mpire",
    "aiomultiprocess",
]
"""What workers would import first of all. The fork server has them, where they are there, and leaves out the others."""

Function = Callable[[Any], Any]


def context() -> multiprocessing.context.ForkServerContext:
    """The start method for all; the server has imported the work, so that workers start as fast as they can."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(PRELOADED)
    return forkserver


def pool() -> ProcessPoolExecutor:
    """A pool of the standard library."""
    return ProcessPoolExecutor(WORKERS, mp_context=context())


# Chunked by hand: `function` takes a list.


def executor(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`submit` with a window, results in order."""
    with pool() as workers:
        yield from windowed(workers, function, chunks)


def windowed(workers: Executor, function: Function, chunks: Chunks) -> Iterator[Any]:
    """Submit chunks to an executor, a few ahead, and take their results in order."""
    ahead: deque[Future[Any]] = deque()
    for chunk in chunks:
        ahead.append(workers.submit(function, chunk))
        if len(ahead) >= WINDOW:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def older_pool(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`imap_unordered`, given chunks."""
    with context().Pool(WORKERS) as workers:
        yield from workers.imap_unordered(function, chunks)


# Chunked by the library: `function` takes a record, and the size is the library's argument.


def executor_map(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`map` with `chunksize`."""
    with pool() as workers:
        yield from workers.map(function, chunks.uncut(), chunksize=chunks.size)


def older_pool_chunksize(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`imap_unordered` with `chunksize`."""
    with context().Pool(WORKERS) as workers:
        yield from workers.imap_unordered(function, chunks.uncut(), chunksize=chunks.size)


# Not chunked.


def plain_loop(workload: Workload, records: int) -> Done:
    """One process, one loop: no overhead at all, and one core."""
    through, before, count = workload.through, workload.total(), 0
    for record in workload.feed(records):
        through(record)
        count += 1
    return Done(count, workload.total() - before)


def hop_per_record(workload: Workload, records: int, width: int) -> Done:
    """`run_in_executor` for each record, `width` of them at a time under a semaphore."""
    return asyncio.run(_hop_per_record(workload, records, width))


async def _hop_per_record(workload: Workload, records: int, width: int) -> Done:
    loop, semaphore = asyncio.get_running_loop(), asyncio.Semaphore(width)
    count = checksum = 0

    async def one(record: Any) -> None:
        nonlocal count, checksum
        try:
            result = await loop.run_in_executor(workers, workload.through, record)
        finally:
            semaphore.release()
        count += 1
        checksum += workload.weigh(result)

    with pool() as workers:
        async with asyncio.TaskGroup() as tasks:
            async for record in workload.async_feed(records):
                await semaphore.acquire()
                tasks.create_task(one(record))
    return Done(count, checksum)


def queue_and_workers(workload: Workload, records: int, idle_timeout: float | None) -> Done:
    """The original's design: a feeder puts records into one bounded queue, one by one; workers take them one by one.

    Args:
        workload: what to do.
        records: how many.
        idle_timeout: seconds a worker waits for a record before it takes the feed for finished, as in the
            original; None tells the workers when the feed ends, so that nobody waits.
    """
    mp = context()
    to_do: Any = mp.Queue(BUFFER_SIZE)
    done: Any = mp.SimpleQueue()
    work = (to_do, done, workload.through, workload.total, idle_timeout)
    workers = [mp.Process(target=_take_records, args=work) for _ in range(WORKERS)]
    feeder = threading.Thread(target=_put_records, args=(to_do, workload.feed(records), idle_timeout is None))
    for process in workers:
        process.start()
    feeder.start()
    parts: list[Done] = [done.get() for _ in workers]
    feeder.join()
    for process in workers:
        process.join()
    to_do.close()
    to_do.join_thread()
    done.close()
    return added_up(parts)


def _put_records(to_do: Any, feed: Iterator[Any], say_when_done: bool) -> None:
    for record in feed:
        to_do.put(record)
    if say_when_done:
        for _ in range(WORKERS):
            to_do.put(None)


def _take_records(
    to_do: Any, done: Any, through: Function, total: Callable[[], int], idle_timeout: float | None
) -> None:
    before, count = total(), 0
    while True:
        try:
            record = to_do.get(timeout=idle_timeout or NEVER)
        except queue.Empty:
            break
        if record is None:
            break
        through(record)
        count += 1
    done.put(Done(count, total() - before))
