"""Shows a run's books to a display a few times a second, on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

INTERVAL = 0.2
"""Seconds between two looks. Shorter costs the loop, longer looks stuck."""


class Display(Protocol):
    """Something that shows progress; it knows where to get the numbers."""

    def start(self) -> None:
        """Appear."""

    def update(self) -> None:
        """Show the numbers as they are now."""

    def finish(self) -> None:
        """Show the last numbers and go."""


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
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        display.finish()


async def _watch(display: Display) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        display.update()
