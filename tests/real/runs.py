"""Runs in this process, from a queue to lists that tests look at."""

from __future__ import annotations

import asyncio
from typing import Any

from pipeframe_async import Failure, PipeFrame, PipelineEngine


def passed(record: Any) -> tuple[Any, bool]:
    """As it came."""
    return record, True


def fails_for_odd(record: int) -> tuple[int, bool]:
    """Half of them."""
    if record % 2:
        raise ValueError("odd")
    return record, True


class Run:
    """A run in this process, and what its sink and its dead letter have been given."""

    def __init__(self, source: Any, *steps: Any, dead_letter: bool = True, **knobs: Any) -> None:
        self.source = source
        self.taken: list[Any] = []
        self.failures: list[Failure[Any]] = []
        self.frame = PipeFrame(1, executor="inline", **knobs)

        hooks: dict[str, Any] = {"feed": source, "steps": list(steps) or [passed], "sink": self._take}
        if dead_letter:
            hooks["dead_letter"] = self._bury
        self.pipeline = type("Through", (PipelineEngine,), hooks)

    async def _take(self, records: list[Any]) -> None:
        self.taken += records

    async def _bury(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures

    async def until(self, enough: Any, patience: float = 30.0) -> Any:
        """Run until that holds; then stop the source, and give the report."""
        running = asyncio.ensure_future(self.frame.run(self.pipeline))
        async with asyncio.timeout(patience):
            while not enough() and not running.done():
                await asyncio.sleep(0.02)
            self.source.stop()
            return await running
