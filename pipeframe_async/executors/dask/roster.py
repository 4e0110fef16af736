"""Who is on the cluster, and who of them can have lanes: they join, retire, lack something, or say nothing any more.

Comes in: what the scheduler says, twice a second, and signs of life of the workers. Goes out: to those who have lanes
there, that a worker is gone, or has come. Process: the client's; all of it runs on the loop of the frame.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, Protocol

from pipeframe_async.errors import ConfigError, WorkerLost
from pipeframe_async.executors.dask import probing
from pipeframe_async.executors.dask.fits import Fits
from pipeframe_async.executors.dask.hearing import Hearing
from pipeframe_async.executors.dask.reach import CONNECT_SECONDS, Member, Reach
from pipeframe_async.executors.dask.seats import Seat

CLOSED = "the Dask client was closed, or has given up its scheduler"
LOOK_SECONDS = 0.5
"""How often it looks who is there. A look is one request to the scheduler; a worker that comes waits for it."""
FORGET_SECONDS = 10.0
"""What a worker that has left the cluster has to finish its batches, where its host is still there; where it is not,
that is how long they wait to be run elsewhere, unless the connection breaks sooner."""
BREATH_SECONDS = 0.05
"""Between two looks at least, however much there is to see: a lease that ends at once would be asked for endlessly."""


class Lanes(Protocol):
    """Who has lanes there."""

    def seats(self) -> list[Seat]:
        """All their places, also those that are given up and have batches."""

    def lost(self, seat: Seat, why: str) -> None:
        """A place is of no use any more."""

    def told(self, seat: Seat, answer: dict[str, Any]) -> None:
        """What a worker says of a lane."""

    def alive(self, address: str) -> None:
        """A worker has given a sign of life."""

    def fill(self) -> None:
        """There may be places for lanes that have none."""

    def ended(self) -> None:
        """The cluster is of no use any more: `fatal` says why."""


class Dropped(RuntimeError):
    """Whoever had the lanes is gone."""


class Roster:
    """The workers. It does not keep alive whoever has lanes there, and ends when that is gone.

    Args:
        reach: the cluster.
        timeout: seconds for which a worker, or all of them, may be silent.
        lanes: who has lanes there.
    """

    def __init__(self, reach: Reach, timeout: float, lanes: Lanes) -> None:
        self.fatal = ""
        self._reach = reach
        self._timeout = timeout
        self._followed = weakref.ref(lanes)
        self._hurried = asyncio.Event()
        self._fits = Fits(reach, self._hurried.set)
        self._hearing = Hearing(timeout, self._ask)
        self._members: dict[str, Member] = {}
        self._shunned: set[str] = set()  # of those, who cannot be connected to
        self._forgetting: set[asyncio.TimerHandle] = set()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._closed = False

    @property
    def _following(self) -> bool:
        """Whether it goes on. A cancel says that it does not, and Dask may make a lost connection of one."""
        return not self.fatal and not self._closed

    @property
    def _lanes(self) -> Lanes:
        if (lanes := self._followed()) is None:
            raise Dropped
        return lanes

    async def filled(self) -> None:
        """Wait until somebody can have lanes, and follow them from then on.

        Raises:
            ConfigError: none of the workers can.
            WorkerLost: there are none, for long.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        while True:
            with suppress(OSError, TimeoutError):
                self._meet(await self._reach.members())
                await self._fits.answered(CONNECT_SECONDS)
            if self.threads():
                break
            if self._fits.misfits and not self._fits.fit:
                raise ConfigError(probing.refusal(self._fits.misfits))
            if self._reach.status in ("closed", "closing"):
                raise WorkerLost(CLOSED)
            if loop.time() > deadline:
                raise WorkerLost(f"the Dask cluster had no worker for {self._timeout:g} s")
            await asyncio.sleep(LOOK_SECONDS)
        self._tasks = (
            loop.create_task(_until_dropped(self._watch()), name="pipeframe-dask-watch"),
            loop.create_task(_until_dropped(self._listen()), name="pipeframe-dask-listen"),
        )

    def threads(self) -> dict[str, int]:
        """Of the workers that can have another lane."""
        able = self._fits.fit - self._shunned
        return {
            address: member.threads for address, member in self._members.items() if member.begins and address in able
        }

    def hurry(self) -> None:
        """Look soon: somebody wants a place."""
        self._hurried.set()

    def heard(self, address: str) -> None:
        """A worker has answered."""
        self._hearing.heard(address)
        self._alive(address)

    def silent(self, address: str) -> float:
        """Seconds since a worker has said something."""
        return self._hearing.lasts(address)

    def shun(self, address: str) -> None:
        """A worker cannot be connected to: it gets no lane before it has given a sign of life."""
        self._shunned.add(address)

    def doubt(self, address: str) -> None:
        """A worker is another one than it was, it seems: it is asked once more what it has."""
        self._fits.again(address)

    def has(self, modules: Iterable[str]) -> bool:
        """Whether all that can have lanes are known to have these modules."""
        return {*modules} <= self._fits.needs

    async def need(self, modules: frozenset[str]) -> None:
        """Find out who has these modules. Who lacks one gets no lanes any more.

        Raises:
            ConfigError: all of them lack one.
        """
        for address in await self._fits.need(modules):
            self._gone(address, "it lacks modules")

    def _gone(self, address: str, why: str) -> bool:
        """Whoever has a place there has none any more."""
        seats = [seat for seat in self._lanes.seats() if seat.address == address]
        for seat in seats:
            self._lanes.lost(seat, why)
        return bool(seats)

    async def _watch(self) -> None:
        """Follow the cluster, until it is closed or of no use."""
        while self._following:
            self._hurried.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._hurried.wait()  # set by whoever wants a look
            await asyncio.sleep(BREATH_SECONDS)
            await self._look()

    async def _look(self) -> None:
        if self._reach.status in ("closed", "closing"):
            self.fatal = CLOSED
            for address in {seat.address for seat in self._lanes.seats()}:
                self._gone(address, self.fatal)
                self._reach.forget(address)
            self._lanes.ended()
            return
        try:
            members = await self._reach.members()
        except (OSError, TimeoutError):
            return  # the scheduler is away: what is leased goes on
        for address in self._members.keys() - members.keys():
            self._forgetting.add(asyncio.get_running_loop().call_later(FORGET_SECONDS, self._forget, address))
        self._meet(members)
        for address in {seat.address for seat in self._lanes.seats()}:
            member = members.get(address)
            if member is None or not member.stays:
                self._gone(address, "it has left the cluster" if member is None else "it is retired")
        self._lanes.fill()

    def _forget(self, address: str) -> None:
        """Who is gone from the cluster has had its time to give back what it had."""
        if address not in self._members:
            self._reach.forget(address)

    def _meet(self, members: dict[str, Member]) -> None:
        self._members = members
        self._shunned &= members.keys()
        self._fits.meet(members)

    async def _listen(self) -> None:
        """Look who says nothing any more. Beside `_watch`, which waits for the scheduler where that is away."""
        while self._following:
            seats, now = self._lanes.seats(), asyncio.get_running_loop().time()
            # In the middle of a long batch, what it is at and what it has logged is asked for.
            long = {seat.address for seat in seats if seat.busy and now - seat.heard >= self._hearing.beat}
            for address in self._hearing.look({*self._shunned, *(seat.address for seat in seats)}, long):
                self._give_up(address)
            await asyncio.sleep(self._hearing.beat)

    def _give_up(self, address: str) -> None:
        """Nothing was heard of a worker for too long: what it has is run elsewhere."""
        if self._gone(address, f"nothing was heard of it for {self._timeout:g} s"):
            self._shunned.add(address)
            self._reach.forget(address)

    async def _ask(self, address: str) -> None:
        """Ask a worker for a sign of life, and what its lanes are at."""
        seats = {seat.key: seat for seat in self._lanes.seats() if seat.address == address and seat.there}
        for key, answer in (await self._reach.look(address, seats)).items():
            self._lanes.told(seats[key], answer)
        self._alive(address)

    def _alive(self, address: str) -> None:
        self._lanes.alive(address)
        if address in self._shunned:
            self._shunned.discard(address)
            self._hurried.set()

    async def close(self) -> None:
        """Follow nobody any more."""
        self._closed = True
        for timer in self._forgetting:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._hearing.close(), self._fits.close(), return_exceptions=True)


async def _until_dropped(work: Coroutine[Any, Any, None]) -> None:
    with suppress(Dropped):
        await work
