"""`buffer_bytes` from the first record on: also while workers start, and also for what is collected first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pipeframe_async import Chunk
from pipeframe_async._engine.feeding import spill
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, Sunk, settled

LARGE = 100_000
MOST = 2_000_000


class Alive:
    """Records that are counted while the feed's side has them, and not yet a worker."""

    def __init__(self) -> None:
        self.fed = self.most = 0

    def made(self, taken: int) -> bytes:
        self.fed += 1
        self.most = max(self.most, self.fed - taken)
        return bytes(LARGE)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("form", ["async", "thread", "chunks"])
async def test_a_stream_is_not_pulled_further_while_workers_start(form: str) -> None:
    alive = Alive()

    async def feed() -> AsyncIterator[Any]:
        for _ in range(300):
            yield alive.made(len(pipeline.taken)) if form == "async" else Chunk([alive.made(len(pipeline.taken))])

    def plain() -> Iterator[Any]:
        for _ in range(300):
            yield alive.made(len(pipeline.taken))

    frame = FakeFrame(FakeExecutor(1, start_seconds=100.0, delay=lambda number, records: 0.1), buffer_bytes=MOST)
    pipeline = Sunk(plain if form == "thread" else feed, source="stream", timeout=None)
    await frame.run(pipeline)
    assert len(pipeline.taken) == 300
    # 16 MiB may wait to be cut, whatever buffer_bytes is; and a few before any was looked at.
    assert alive.most * LARGE <= 16 * 2**20 + MOST + 20 * LARGE
    settled(frame)


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_batch_feed_is_kept_on_disk_beyond_its_bytes(in_thread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def feed() -> AsyncIterator[bytes]:
        for number in range(200):
            yield number.to_bytes(4, "big") + bytes(LARGE)

    def plain() -> Iterator[bytes]:
        for number in range(200):
            yield number.to_bytes(4, "big") + bytes(LARGE)

    frame, pipeline = FakeFrame(buffer_bytes=MOST), Sunk(plain if in_thread else feed, source="batch")
    most = 0

    put = spill.Spill.put

    def counted(self: spill.Spill, record: object) -> None:
        nonlocal most
        most = max(most, len(frame.made[-1].organs.backlog.records))
        put(self, record)

    monkeypatch.setattr(spill.Spill, "put", counted)
    await frame.run(pipeline)
    assert most
    assert [record[:4] for record in pipeline.taken] == [number.to_bytes(4, "big") for number in range(200)]
    assert most * LARGE <= MOST + 40 * LARGE
    settled(frame)


async def test_a_slow_disk_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    real = spill._Block.write, spill._Block.read

    def slow_write(block: Any, file: Any) -> None:
        time.sleep(0.3)
        real[0](block, file)

    def slow_read(file: Any) -> Any:
        time.sleep(0.3)
        return real[1](file)

    monkeypatch.setattr(spill._Block, "write", slow_write)
    monkeypatch.setattr(spill._Block, "read", slow_read)
    frame, pipeline = FakeFrame(buffer_size=10), Sunk([bytes(LARGE)] * 40, source="batch")
    running, worst = asyncio.ensure_future(frame.run(pipeline)), 0.0
    while not running.done():
        last = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - last)
    await running
    assert len(pipeline.taken) == 40
    assert worst < 0.25  # a loop that waits for the disk stands for 0.3 s
    settled(frame)
