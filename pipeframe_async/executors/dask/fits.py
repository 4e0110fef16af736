"""Which Dask workers can have lanes: each is asked when it comes, by itself, so one that is cut off holds up nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from pipeframe_async.errors import ConfigError
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
        self.needs: set[str] = set()  # modules that those that fit have, or could not be asked for
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
            if answer is None or isinstance(answer, OSError):
                return
            if why := probing.misfit(answer, self._ours):
                self._refuse(address, why)
            elif lacks := await self._lacks_any(address):
                self._refuse(address, probing.lacking(lacks))
            else:
                self.fit.add(address)
        except (OSError, TimeoutError):
            return  # it, or the scheduler, is gone again; if not, it is asked once more
        finally:
            del self._asking[address]
        self._told()

    def _refuse(self, address: str, why: str) -> None:
        self.fit.discard(address)
        self.misfits[address] = why
        logger.warning("the Dask worker %s gets no lanes: %s", address, why)

    async def _lacks_any(self, address: str) -> list[str]:
        """Which of those that are needed it does not have; also of those that come to be needed meanwhile."""
        asked, lacks = set[str](), list[str]()
        while not lacks and (new := self.needs - asked):
            asked |= new
            lacks = await self._lacks(address, new)
        return lacks

    async def _lacks(self, address: str, modules: Iterable[str]) -> list[str]:
        """Which of these it does not have; none where it does not say."""
        wanted = [*modules]
        if wanted:
            with suppress(OSError, TimeoutError, RuntimeError):
                async with asyncio.timeout(PROBE_SECONDS):
                    return await self._reach.lacks(address, wanted)
        return []

    async def need(self, modules: Iterable[str]) -> set[str]:
        """Modules that lanes must have from now on. Who lacks one fits no more; returns those.

        Raises:
            ConfigError: all that fit do; they still fit, for others.
        """
        if not (wanted := {*modules} - self.needs):
            return set()
        asked, lacks = set[str](), dict[str, list[str]]()
        while new := sorted(self.fit - asked):  # others may come to fit meanwhile
            asked.update(new)
            answers = await asyncio.gather(*(self._lacks(address, wanted) for address in new))
            lacks |= {address: answer for address, answer in zip(new, answers, strict=True) if answer}
        if lacks and len(lacks) == len(asked):
            raise ConfigError(probing.lacked(lacks, self.misfits))
        self.needs |= wanted
        for address, missing in lacks.items():
            self._refuse(address, probing.lacking(missing))
        return {*lacks}

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [*self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
