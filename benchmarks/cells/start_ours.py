"""This library, started for ten records and stopped again; or kept warm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.cells.start_pools import WORKERS
from benchmarks.works.trivial import STEPS
from pipeframe_async import PipeFrame, PipelineEngine


class Trivial(PipelineEngine[int, int]):
    """Trivial steps."""

    steps: Any = list(STEPS)
    source = "stream"


class Ours:
    """As `start_pools.Pool`."""

    def whole(self, records: Sequence[int]) -> tuple[float, int]:
        """From `PipeFrame(...)` to the last result and the end of the workers."""
        return asyncio.run(self._whole(records))

    async def _whole(self, records: Sequence[int]) -> tuple[float, int]:
        started = time.perf_counter()
        checksum = 0
        async with PipeFrame(cpu_count=WORKERS).stream(Trivial, records) as results:
            async for result in results:
                checksum += result
        return time.perf_counter() - started, checksum

    def warm(self, records: Sequence[int], times: int) -> list[float]:
        """Seconds of each `frame.run` in a frame that is open."""
        return asyncio.run(self._warm(records, times))

    async def _warm(self, records: Sequence[int], times: int) -> list[float]:
        spent = []
        async with PipeFrame(cpu_count=WORKERS) as frame:
            await frame.run(Trivial, records)
            for _ in range(times):
                started = time.perf_counter()
                report = await frame.run(Trivial, records)
                spent.append(time.perf_counter() - started)
                if report.delivered != len(records):
                    raise RuntimeError(f"{report}")
        return spent
