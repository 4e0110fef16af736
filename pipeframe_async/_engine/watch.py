"""Shows a run's books to a display a few times a second, on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipeframe_async._engine.supervise import ended
from pipeframe_async.contracts import Display

INTERVAL = 0.2
"""Seconds between two looks. Shorter costs the loop, longer looks stuck."""


@asynccontextmanager
async def watched(display: Display | None) -> AsyncIterator[None]:
    """Update the display while the block runs; None shows nothing."""
    if display is None:
        yield
        return
    display.start()
    watching = asyncio.get_running_loop().create_task(_watch(display), name="pipeframe-progress")
    try:
        yield
    finally:
        await ended([watching])
        display.finish()


async def _watch(display: Display) -> None:
    while True:
        await asyncio.sleep(INTERVAL)  # cancelled when the block is left
        display.update()
