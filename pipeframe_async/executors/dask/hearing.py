"""Which Dask workers are heard. A connection on which nothing comes may be one to a long batch, or to nowhere.

So those that are listened to and have not answered for a while are asked for a sign of life, each by itself: one that
is cut off holds up nobody. How long is too long is `_rules/silence.py`'s to say. Process: the client's, on the loop of
the frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from pipeframe_async._rules.silence import Silence


class Hearing:
    """Signs of life.

    Args:
        timeout: seconds without one after which a worker is given up.
        ask: asks a worker for one.
    """

    def __init__(self, timeout: float, ask: Callable[[str], Awaitable[None]]) -> None:
        self._silence = Silence(timeout)
        self._look = ask
        self._asking: dict[str, asyncio.Task[None]] = {}

    @property
    def beat(self) -> float:
        """Seconds between two looks."""
        return self._silence.beat

    def heard(self, address: str) -> None:
        """It has said something."""
        self._silence.heard(address, _now())

    def lasts(self, address: str) -> float:
        """Seconds since it has said something."""
        return self._silence.lasts(address, _now())

    def look(self, addresses: Iterable[str], wanted: Iterable[str] = ()) -> list[str]:
        """Listen to these, ask those that are quiet and those that are `wanted`, and return those to be given up."""
        now = _now()
        self._silence.watch(addresses, now)
        for address in {*self._silence.quiet(now), *wanted}:
            if address not in self._asking:
                self._asking[address] = asyncio.get_running_loop().create_task(self._ask(address))
        return self._silence.given_up(now)

    async def _ask(self, address: str) -> None:
        # A question that is lost with its connection is given up for another one, over a new connection.
        try:
            async with asyncio.timeout(self._silence.timeout / 3):
                await self._look(address)
        except (OSError, TimeoutError, RuntimeError):
            return
        finally:
            del self._asking[address]
        self.heard(address)

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [*self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> float:
    return asyncio.get_running_loop().time()
