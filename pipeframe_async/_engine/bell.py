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

    async def wait(self, at_most: float | None = None) -> None:
        """Wait for the next ring. The caller checks what it waits for again afterwards.

        Args:
            at_most: seconds after which it goes on without one, and nobody else does.
        """
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        look = None if at_most is None else loop.call_later(at_most, self._let_go, waiter)
        try:
            await waiter  # a cancel leaves it in the list, where the next ring passes over it
        finally:
            if look is not None:
                look.cancel()

    def _let_go(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():  # else a ring has woken it in this very turn
            self._waiters.remove(waiter)
            waiter.set_result(None)
