"""A bell: whoever waits is woken by the next ring and looks for itself whether there is something for it."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes all waiters at each ring. Used on one loop only; a ring with nobody waiting is not kept."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def ring(self) -> bool:
        """Wake everybody who waits now; returns whether anybody did."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        return bool(waiters)

    async def wait(self) -> None:
        """Wait for the next ring. The caller checks what it waits for again afterwards."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter  # a cancel leaves it in the list, where the next ring passes over it
