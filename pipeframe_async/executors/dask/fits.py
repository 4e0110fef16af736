"""Which Dask workers can have lanes: each is asked when it comes, by itself, so one that is cut off holds up nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from pipeframe_async.executors.dask import probing
from pipeframe_async.executors.dask.reach import Member, Reach

logger = logging.getLogger("pipeframe_async")

PROBE_SECONDS = 30.0
"""What a worker has to say what it has: it may have to load the library from a slow disk first."""


class Fits:
    """Those that fit, and those that do not.

    Args:
        reach: the cluster.
        told: is called when one has answered.
    """

    def __init__(self, reach: Reach, told: Callable[[], None]) -> None:
        self.fit: set[str] = set()
        self.misfits: dict[str, str] = {}
        self._reach = reach
        self._told = told
        self._ours = probing.Ours.here()
        self._asking: dict[str, asyncio.Task[None]] = {}

    def meet(self, members: Mapping[str, Member]) -> None:
        """These are there now: ask those who are new."""
        self.fit &= members.keys()
        self.misfits = {address: why for address, why in self.misfits.items() if address in members}
        known = {*self.fit, *self.misfits, *self._asking}
        for address in [address for address, member in members.items() if member.stays and address not in known]:
            self._asking[address] = asyncio.get_running_loop().create_task(self._ask(address))

    def again(self, address: str) -> None:
        """It is another one than it was, it seems: ask it once more."""
        self.fit.discard(address)

    async def answered(self, seconds: float) -> None:
        """Wait until all have answered; at most so long."""
        if self._asking:
            await asyncio.wait([*self._asking.values()], timeout=seconds)

    async def _ask(self, address: str) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                answer = (await self._reach.probed([address], self._ours.library)).get(address)
        except (OSError, TimeoutError):
            return  # it, or the scheduler, is gone again; if not, it is asked once more
        finally:
            del self._asking[address]
        if answer is None or isinstance(answer, OSError):
            return
        if why := probing.misfit(answer, self._ours):
            self.misfits[address] = why
            logger.warning("the Dask worker %s gets no lanes: %s", address, why)
        else:
            self.fit.add(address)
        self._told()

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [*self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
