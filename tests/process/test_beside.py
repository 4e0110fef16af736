"""`executor="auto"`: what a chain beside the loop leaves of the program it is in, and when it is not run there."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pipeframe_async import PipeFrame, PipelineEngine

LARGE = 100_000
MANY = 2000


def many() -> Iterator[bytes]:
    for number in range(MANY):
        yield bytes([number % 256]) * LARGE


def where(record: bytes) -> tuple[int, bool]:
    return os.getpid(), True


class Where(PipelineEngine[bytes, int]):
    steps: Sequence[Any] = (where,)
    source = "stream"


class Locked(PipelineEngine[bytes, int]):
    """Holds on to what cannot be pickled once it is set up."""

    source = "stream"

    def __init__(self) -> None:
        self.seen = 0

    def setup(self) -> None:
        self.lock = threading.Lock()

    @property
    def steps(self) -> Sequence[Any]:  # type: ignore[override]
        return [self.step]

    def step(self, record: bytes) -> tuple[int, bool]:
        with self.lock:
            self.seen += 1
        return os.getpid(), True


async def taken(frame: PipeFrame, pipeline: Any, feed: Any) -> list[Any]:
    async with frame.stream(pipeline, feed) as results:
        return [result async for result in results]


async def test_a_pipeline_that_was_run_beside_the_loop_can_be_sent_to_workers_again() -> None:
    pipeline = Locked()
    async with PipeFrame(2, executor="auto") as frame:
        for _ in range(2):
            pids = await taken(frame, pipeline, many())
            assert (len(pids), pids[-1]) == (MANY, os.getpid())
    assert (pipeline.seen, hasattr(pipeline, "lock")) == (0, False)


async def test_a_setup_that_only_works_in_a_main_thread_keeps_the_chain_in_its_workers() -> None:
    class Fussy(Where):
        def setup(self) -> None:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    async with PipeFrame(2, executor="auto") as frame:
        pids = await taken(frame, Fussy, many())
    assert (len(pids), os.getpid() in pids) == (MANY, False)


async def test_nothing_is_run_beside_the_loop_where_workers_are_replaced_by_their_memory() -> None:
    async with PipeFrame(2, executor="auto", max_worker_rss=2**40) as frame:
        assert os.getpid() not in await taken(frame, Where, many())


def waits_for_small(record: bytes) -> tuple[int, bool]:
    if len(record) < LARGE:
        time.sleep(0.01)
    return os.getpid(), True


async def test_steps_that_turn_to_waiting_go_back_although_the_loop_is_busy_all_the_time() -> None:
    class Waits(Where):
        steps = (waits_for_small,)

    def feed() -> Iterator[bytes]:
        yield from many()
        for _ in range(1000):
            yield b"small"

    async def busy() -> None:
        while True:
            until = time.perf_counter() + 0.004
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0.001)

    task = asyncio.ensure_future(busy())
    async with PipeFrame(2, executor="auto") as frame:
        pids = await taken(frame, Waits, feed())
    task.cancel()
    assert os.getpid() in pids[:MANY]
    assert pids[-1] != os.getpid()
