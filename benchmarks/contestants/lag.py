"""Who takes trivial records through two workers beside a loop that has other things to do, until the time is over.

Each is a coroutine on that loop, which returns what was done. Feeds look at the clock once in a while only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from benchmarks.contestants import line_up, peers, peers_thirdparty
from benchmarks.contestants.ours_pipelines import Steps
from benchmarks.contestants.peers import WORKERS, Function
from benchmarks.works.trivial import PAGE, STEPS, TRIVIAL, expected, through, total
from benchmarks.works.workload import Chunks, Done, added_up, count_through
from pipeframe_async import Chunk, PipeFrame

CHUNK_SIZE = 16_000
"""By hand; about what is best for the pools in `throughput.py`, trivial work."""
WIDTH = 64
"""Records on their way at once where each is a hop; the best in `throughput.py`, trivial work."""


class Timed:
    """The feed of trivial records that ends when its time is over, in each form.

    Args:
        seconds: how long it goes on, from the first record.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.fed = 0

    def pages(self) -> Iterator[range]:
        """As a source of pages has it."""
        end = time.monotonic() + self.seconds
        for page in count():
            if time.monotonic() >= end:
                break
            self.fed += PAGE
            yield range(page * PAGE, (page + 1) * PAGE)

    def plain(self, records: int | None = None) -> Iterator[int]:
        """One record a yield; how many is not asked."""
        for page in self.pages():
            for record in page:  # noqa: UP028 - a user's feed is a loop around a yield
                yield record

    async def one_by_one(self) -> AsyncIterator[int]:
        """The same on the loop."""
        for page in self.pages():
            for record in page:
                yield record

    async def chunks(self) -> AsyncIterator[Chunk[int]]:
        """A page a yield."""
        for page in self.pages():
            yield Chunk(page)


async def idle(feed: Timed) -> Done:
    """Nothing."""
    await asyncio.sleep(feed.seconds)
    return Done(0, 0)


async def ours(form: Callable[[Timed], Any], feed: Timed) -> Done:
    """`await frame.run(P)`."""
    report = await PipeFrame(cpu_count=WORKERS).run(Steps(TRIVIAL), form(feed))
    calls = {step.calls for step in report.steps}
    if calls != {report.delivered}:
        raise RuntimeError(f"{report.delivered} records, but the {len(STEPS)} steps were called {calls} times")
    return expected(report.delivered)


async def hop(feed: Timed) -> Done:
    """`run_in_executor` for each record, under a semaphore."""
    loop, semaphore = asyncio.get_running_loop(), asyncio.Semaphore(WIDTH)
    records = checksum = 0

    async def one(record: int) -> None:
        nonlocal records, checksum
        try:
            result = await loop.run_in_executor(workers, through, record)
        finally:
            semaphore.release()
        records += 1
        checksum += result

    with peers.pool() as workers:
        async with asyncio.TaskGroup() as tasks:
            async for record in feed.one_by_one():
                await semaphore.acquire()
                tasks.create_task(one(record))
    return Done(records, checksum)


async def in_a_thread(drive: line_up.Drive, feed: Timed) -> Done:
    """A pool, chunked by hand, in a thread beside the loop."""
    return await asyncio.to_thread(_driven, drive, feed)


def _driven(drive: line_up.Drive, feed: Timed) -> Done:
    function = partial(count_through, through, total)
    return added_up(drive(function, Chunks(feed.plain, 0, CHUNK_SIZE)))


def imap(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`Pool.imap`, given chunks."""
    with peers.context().Pool(WORKERS) as workers:
        yield from workers.imap(function, chunks)


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do it.

    Attributes:
        key: its name in files.
        label: its name for people.
        run: does the work.
        kind: "idle", "ours" or "peer".
        peer: which peer of `line_up.py` must be installed.
    """

    key: str
    label: str
    run: Callable[[Timed], Coroutine[Any, Any, Done]]
    kind: str = "peer"
    peer: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it can take part."""
        return line_up.is_here(self.peer)


CONTESTANTS = (
    Contestant("idle", "idle loop", idle, "idle"),
    Contestant("ours", "ours, plain generator", partial(ours, Timed.plain), "ours"),
    Contestant("ours_async_feed", "ours, async feed", partial(ours, Timed.one_by_one), "ours"),
    Contestant("ours_chunk_feed", "ours, Chunk feed", partial(ours, Timed.chunks), "ours"),
    Contestant("hop", "run_in_executor per record", hop),
    Contestant("pool", "to_thread(Pool.imap), chunked", partial(in_a_thread, imap)),
    Contestant("spdl", "to_thread(SPDL), chunked", partial(in_a_thread, peers_thirdparty.spdl), peer="spdl"),
)
