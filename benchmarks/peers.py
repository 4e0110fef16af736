"""The peers: other ways to take the same records through the same steps with two workers.

Each is what its user would write, without mistakes that would slow it down. Where a number has to be found
by trying (the size of a chunk, the width of a semaphore), `overhead.py` tries and keeps the best.
Workers start by forkserver everywhere, as ours do.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any

from benchmarks import work
from benchmarks.work import Done

WORKERS = 2
WINDOW = 3 * WORKERS
"""Chunks a pool is given ahead. Fewer let a worker wait for the parent; more only hold memory."""
BUFFER_SIZE = 10_000
"""Records between feed and workers in the original's design; its default."""
NEVER = 600.0
"""Seconds to wait for a record that is sure to come; a wait without a limit would not cost what the original's does."""


def context() -> multiprocessing.context.ForkServerContext:
    """The start method for all; the server has imported the work, so that workers start as fast as they can."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(["benchmarks.peers", "concurrent.futures.process"])
    return forkserver


def pool() -> ProcessPoolExecutor:
    """A pool of the standard library."""
    return ProcessPoolExecutor(WORKERS, mp_context=context())


def plain_loop(records: int) -> Done:
    """One process, one loop: no overhead at all, and one core."""
    return work.count_through(work.feed(records))


def hop_per_record(records: int, width: int) -> Done:
    """`run_in_executor` for each record, `width` of them at a time under a semaphore."""
    return asyncio.run(_hop_per_record(records, width))


async def _hop_per_record(records: int, width: int) -> Done:
    loop, semaphore = asyncio.get_running_loop(), asyncio.Semaphore(width)
    count = checksum = 0

    async def one(record: int) -> None:
        nonlocal count, checksum
        try:
            result = await loop.run_in_executor(workers, work.through, record)
        finally:
            semaphore.release()
        count += 1
        checksum += result

    with pool() as workers:
        async with asyncio.TaskGroup() as tasks:
            async for record in work.async_feed(records):
                await semaphore.acquire()
                tasks.create_task(one(record))
    return Done(count, checksum)


def chunked_counts(records: int, size: int) -> Done:
    """A pool fed with chunks of `size` records, which sends back counts."""
    with pool() as workers:
        done = list(_windowed(workers, work.count_through, records, size))
    return Done(sum(part.records for part in done), sum(part.checksum for part in done))


def chunked_results(records: int, size: int) -> Done:
    """A pool fed with chunks of `size` records, which sends back results; the consumer looks at each."""
    count = checksum = 0
    with pool() as workers:
        for results in _windowed(workers, work.all_through, records, size):
            for result in results:
                count += 1
                checksum += result
    return Done(count, checksum)


def _windowed(workers: ProcessPoolExecutor, function: Any, records: int, size: int) -> Iterator[Any]:
    feed = work.feed(records)
    ahead: deque[Future[Any]] = deque()
    while chunk := list(islice(feed, size)):
        ahead.append(workers.submit(function, chunk))
        if len(ahead) >= WINDOW:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def queue_and_workers(records: int, idle_timeout: float | None) -> Done:
    """The original's design: a feeder puts records into one bounded queue, one by one; workers take them one by one.

    Args:
        records: how many.
        idle_timeout: seconds a worker waits for a record before it takes the feed for finished, as in the
            original; None tells the workers when the feed ends, so that nobody waits.
    """
    mp = context()
    to_do: Any = mp.Queue(BUFFER_SIZE)
    done: Any = mp.SimpleQueue()
    workers = [mp.Process(target=_take_records, args=(to_do, done, idle_timeout)) for _ in range(WORKERS)]
    feeder = threading.Thread(target=_put_records, args=(to_do, records, idle_timeout is None))
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
    return Done(sum(part.records for part in parts), sum(part.checksum for part in parts))


def _put_records(to_do: Any, records: int, say_when_done: bool) -> None:
    for record in work.feed(records):
        to_do.put(record)
    if say_when_done:
        for _ in range(WORKERS):
            to_do.put(None)


def _take_records(to_do: Any, done: Any, idle_timeout: float | None) -> None:
    count = 0
    while True:
        try:
            record = to_do.get(timeout=idle_timeout or NEVER)
        except queue.Empty:
            break
        if record is None:
            break
        work.through(record)
        count += 1
    done.put(Done(count, work.total))
