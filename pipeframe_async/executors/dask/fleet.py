"""`executor="dask://host:port"`: lanes that live on the workers of a Dask cluster, and follow them as they come and go.

Comes in: who is there, twice a second. Goes out: leases, one for each lane that is to have a place; which worker is
`_rules/placing.py`'s to say. Process: the client's; all of it runs on the loop of the frame.
"""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections import Counter
from contextlib import suppress
from itertools import count
from typing import Any

from pipeframe_async._rules.placing import places
from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import ConfigError, StepError, WorkerLost
from pipeframe_async.executors.dask import probing
from pipeframe_async.executors.dask.at import Cluster
from pipeframe_async.executors.dask.calls import OPEN, WAITING
from pipeframe_async.executors.dask.fits import Fits
from pipeframe_async.executors.dask.hearing import Hearing
from pipeframe_async.executors.dask.lane import DaskLane
from pipeframe_async.executors.dask.reach import CONNECT_SECONDS, Member, Reach, Unreachable
from pipeframe_async.executors.dask.seats import Seat
from pipeframe_async.executors.handling import Handling
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.wire import ChainRef, ChainSpec

NO_LANE = "there was no lane on any Dask worker"
CLOSED = "the Dask client was closed, or has given up its scheduler"
LOOK_SECONDS = 0.5
"""How often it looks who is there. A look is one request to the scheduler; a worker that comes waits for it."""
FORGET_SECONDS = 10.0
"""What a worker that has left the cluster has to finish its batches, where its host is still there; where it is not,
that is how long they wait to be run elsewhere, unless the connection breaks sooner."""
KILL_SECONDS = 1.0
"""What a worker has to say that a lane was killed; it is all the same, when it hears of the end of its lease. Longer
holds up a cancel while a host is cut off, shorter leaves lanes behind for a moment where a Dask worker is only slow."""
BREATH_SECONDS = 0.05
"""Between two looks at least, however much there is to see: a lease that ends at once would be asked for endlessly."""
MOST_LANES = 256
"""Lanes at most, whether they have a place or wait for one: each costs the loop two tasks, and one that has a place two
connections."""


class DaskLanes:
    """Lanes on a Dask cluster. It is `open`ed before it has any.

    Args:
        cluster: where.
        most: how many lanes at most; None for a lane a thread, up to `MOST_LANES`.
        wear: when the workers of lanes are replaced.
        worker_timeout: seconds for which it waits for a worker, or the scheduler, to be there.
    """

    where = "worker"
    beside: Executor | None = None

    def __init__(
        self, cluster: Cluster, most: int | None = None, wear: Wear = NO_WEAR, worker_timeout: float = 60.0
    ) -> None:
        self.codec = Packing(out_of_band=True)
        self.logs = Handling()
        self.lanes: tuple[DaskLane, ...] = ()
        self._cluster = cluster
        self._most = most
        self._wear = wear
        self.worker_timeout = worker_timeout
        self._reach: Reach | None = None
        self._fits: Fits
        self._hearing: Hearing
        self._members: dict[str, Member] = {}
        self._shunned: set[str] = set()  # of those, who cannot be connected to
        self._leases = (f"pipeframe-{os.urandom(6).hex()}-{number}" for number in count())
        self._leaving: set[Seat] = set()  # given up, with batches that are still there
        self._forgetting: set[asyncio.TimerHandle] = set()
        self._changed = asyncio.Event()
        self._hurried = asyncio.Event()
        self._checking = asyncio.Lock()
        self._watching: tuple[asyncio.Task[None], ...] = ()
        self._moves = 0
        self._heard = 0.0  # when a worker of a lane has said something last
        self._problem = ""  # why the last lane could not be where it was to be
        self._fatal = ""
        self._closed = False

    @property
    def reach(self) -> Reach:
        """The cluster."""
        assert self._reach is not None
        return self._reach

    @property
    def restarts(self) -> int:
        """Workers started in place of others, and lanes that have moved."""
        seats = [lane.seat for lane in self.lanes if lane.seat is not None]
        return self._moves + sum(max(0, seat.starts - 1) for seat in seats)

    @property
    def logs_dropped(self) -> int:
        """Log lines of steps that were not handled, because there was no room for them."""
        return self.logs.dropped

    async def logs_handled(self) -> None:
        """Wait until the log lines that have come are handled; within a bound."""
        await self.logs.handled()

    async def open(self) -> None:
        """Connect, find out who can have lanes, and ask for places for them.

        Raises:
            ConfigError: nobody answers there, or none of the workers can have lanes.
            WorkerLost: there are no workers, for as long as `worker_timeout`.
        """
        loop = asyncio.get_running_loop()
        self._reach = await Reach.to(self._cluster, self.worker_timeout)
        self._forgotten = weakref.finalize(self, _dropped, self._reach, self.logs)
        self._fits = Fits(self._reach, self._hurried.set)
        self._hearing = Hearing(self.worker_timeout, self._ask)
        deadline = loop.time() + self.worker_timeout
        while True:
            with suppress(OSError, TimeoutError):
                self._meet(await self._reach.members())
                await self._fits.answered(CONNECT_SECONDS)
            if self._threads():
                break
            if self._fits.misfits and not self._fits.fit:
                raise ConfigError(probing.refusal(self._fits.misfits))
            if self._reach.status in ("closed", "closing"):
                raise WorkerLost(CLOSED)
            if loop.time() > deadline:
                raise WorkerLost(f"the Dask cluster had no worker for {self.worker_timeout:g} s")
            await asyncio.sleep(LOOK_SECONDS)
        number = min(MOST_LANES, self._most or MOST_LANES)
        self.lanes = tuple(DaskLane(number, self) for number in range(number))
        self._heard = loop.time()
        self._fill()
        self._watching = (
            loop.create_task(self._watch(), name="pipeframe-dask-watch"),
            loop.create_task(self._listen(), name="pipeframe-dask-listen"),
        )

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain; each Dask worker gets it once, with the first batch."""
        return ship_chain(chain)

    async def check(self, chain: ChainSpec) -> None:
        """Find out whether the Dask workers have the modules that a chain names. Who lacks one gets no lanes any more.

        Raises:
            ConfigError: all of them lack one.
        """
        await self.checked(self.load(chain))

    async def checked(self, chain: ChainRef) -> None:
        """The same, of one that is pickled."""
        if chain.modules <= self._fits.needs:
            return
        async with self._checking:
            for address in await self._fits.need(chain.modules):
                for seat in [seat for seat in self._seats() if seat.address == address]:
                    self.lost(seat, "it lacks modules")

    async def _watch(self) -> None:
        """Follow the cluster, until it is closed or of no use."""
        while not self._fatal:
            self._hurried.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._hurried.wait()
            await asyncio.sleep(BREATH_SECONDS)
            await self._look()

    async def _look(self) -> None:
        if self.reach.status in ("closed", "closing"):
            self._fatal = CLOSED
            for seat in [lane.seat for lane in self.lanes if lane.seat is not None]:
                self.lost(seat, self._fatal)
                self.reach.forget(seat.address)
            self._ring()
            return
        try:
            members = await self.reach.members()
        except (OSError, TimeoutError):
            return  # the scheduler is away: what is leased goes on
        for address in self._members.keys() - members.keys():
            self._forgetting.add(asyncio.get_running_loop().call_later(FORGET_SECONDS, self._forget, address))
        self._meet(members)
        for seat in [lane.seat for lane in self.lanes if lane.seat is not None]:
            member = members.get(seat.address)
            if member is None or not member.stays:
                self.lost(seat, "it has left the cluster" if member is None else "it is retired")
        self._fill()

    def _forget(self, address: str) -> None:
        """Who is gone from the cluster has had its time to give back what it had."""
        if address not in self._members:
            self.reach.forget(address)

    def _meet(self, members: dict[str, Member]) -> None:
        self._members = members
        self._shunned &= members.keys()
        self._fits.meet(members)

    def _threads(self) -> dict[str, int]:
        """Of the workers that can have another lane."""
        able = self._fits.fit - self._shunned
        return {
            address: member.threads for address, member in self._members.items() if member.begins and address in able
        }

    async def _listen(self) -> None:
        """Look who says nothing any more. Beside `_watch`, which waits for the scheduler where that is away."""
        while not self._fatal:
            seats, now = self._seats(), asyncio.get_running_loop().time()
            # In the middle of a long batch, what it is at and what it has logged is asked for.
            long = {seat.address for seat in seats if seat.busy and now - seat.heard >= self._hearing.beat}
            for address in self._hearing.look({*self._shunned, *(seat.address for seat in seats)}, long):
                self._give_up(address)
            await asyncio.sleep(self._hearing.beat)

    def _seats(self) -> list[Seat]:
        """All places, also those that are given up and have batches."""
        return [*(lane.seat for lane in self.lanes if lane.seat is not None), *self._leaving]

    def _give_up(self, address: str) -> None:
        """Nothing was heard of a worker for too long: what it has is run elsewhere."""
        if seats := [seat for seat in self._seats() if seat.address == address]:
            self._shunned.add(address)
            for seat in seats:
                self.lost(seat, f"nothing was heard of it for {self.worker_timeout:g} s")
            self.reach.forget(address)

    async def _ask(self, address: str) -> None:
        """Ask a worker for a sign of life, and what its lanes are at."""
        seats = {seat.key: seat for seat in self._seats() if seat.address == address and seat.there}
        for key, answer in (await self.reach.look(address, seats)).items():
            self._told(seats[key], answer)
        self._alive(address)

    def _told(self, seat: Seat, answer: dict[str, Any]) -> None:
        """What an answer says of its lane besides."""
        seat.told(answer)
        seat.heard = asyncio.get_running_loop().time()
        name = next((lane.name for lane in self.lanes if lane.seat is seat), f"a lane on {seat.address}")
        for chunk, positions in seat.lines(answer):
            self.logs.put(chunk, name, positions)

    def _alive(self, address: str) -> None:
        """A worker has given a sign of life."""
        if any(seat.there for seat in self._seats() if seat.address == address):
            self._heard = asyncio.get_running_loop().time()
        if address in self._shunned:
            self._shunned.discard(address)
            self._hurried.set()

    def heard(self, seat: Seat, answer: dict[str, Any]) -> None:
        """A worker has answered."""
        self._told(seat, answer)
        self._hearing.heard(seat.address)
        self._alive(seat.address)

    def unreachable(self, seat: Seat, why: str) -> None:
        """A worker cannot be connected to: it gets no lane before it has given a sign of life."""
        self._shunned.add(seat.address)
        self.lost(seat, why)

    def _fill(self) -> None:
        """Ask for a place for each lane that has none, where there are any."""
        if self._closed or self.reach.status != "running":
            return
        waiting = [lane for lane in self.lanes if lane.seat is None]
        waiting.sort(key=lambda lane: (not lane.began, lane.number))  # those who have work first
        taken = Counter(lane.seat.address for lane in self.lanes if lane.seat is not None)
        taken.update(seat.address for seat in self._leaving)
        for lane, address in zip(waiting, places(self._threads(), taken, len(waiting)), strict=False):
            key = next(self._leases)
            future = self.reach.lease(key, probing.lease(key, self._wear.max_batches, self._wear.max_rss), address)
            seat = lane.seat = Seat(key, address, future)
            seat.sitting = asyncio.get_running_loop().create_task(self._sit(seat), name=f"pipeframe-{key}")

    async def _sit(self, seat: Seat) -> None:
        """Wait until the lane is there."""
        try:
            while (answer := await self.reach.ask(seat.address, "opened", lease=seat.key))["is"] == WAITING:
                if seat.over or seat.future.status not in ("pending", "finished"):  # it will not come
                    raise OSError(f"its lease is {seat.future.status}")
                self._problem = f"{seat.address}: its threads are at work for others"
        except Unreachable as error:
            self.unreachable(seat, str(error))
            return
        except (OSError, RuntimeError) as error:
            self._fits.again(seat.address)
            self.lost(seat, str(error))
            return
        if answer["is"] != OPEN:
            self.lost(seat, answer["text"])
            return
        if seat.over:
            return  # given up meanwhile
        seat.there = True
        self.heard(seat, answer)
        self._take(seat)
        self._ring()

    def _take(self, seat: Seat) -> None:
        """A lane has its place. Of those that never had one the first goes first: runs wait for them in that order."""
        lane = next(lane for lane in self.lanes if lane.seat is seat)
        if not lane.began:
            first = next(lane for lane in self.lanes if not lane.began)
            lane.seat, first.seat = first.seat, seat
            first.began = True

    def lost(self, seat: Seat, why: str) -> None:
        """A seat takes no more batches: its worker is gone, or going."""
        if seat.over:
            return
        seat.over = True
        self._problem = f"{seat.address}: {why}"
        for lane in self.lanes:
            if lane.seat is seat:
                lane.unseat()
                self._moves += seat.there
        if seat.busy:
            self._leaving.add(seat)
        else:
            self.left(seat)
        self._ring()
        self._hurried.set()

    def left(self, seat: Seat) -> None:
        """Its last batch has come back: the thread is Dask's again."""
        self._leaving.discard(seat)
        if not self._closed:
            seat.future.release()

    def returned(self) -> None:
        """A lane that was at another's place has nothing there any more: who waits in `seat_for` looks again."""
        self._ring()

    def _any(self) -> bool:
        """Whether any lane has a place."""
        return any(lane.seat is not None and lane.seat.free for lane in self.lanes)

    def _ring(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self, since: float, what: str) -> None:
        """Wait until something has changed.

        Raises:
            WorkerLost: it is of no use to wait, or it has lasted too long.
        """
        if self._fatal or self._closed:
            raise WorkerLost(self._fatal or "the lanes on the Dask cluster were closed")
        left = max(since, self._heard) + self.worker_timeout - asyncio.get_running_loop().time()
        if left <= 0:
            raise WorkerLost(self._said(what))
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._changed.wait()  # rung by whatever changes a seat, and by the end

    def _said(self, what: str) -> str:
        problem = f"; the last problem: {self._problem}" if self._problem else ""
        return f"{what} for {self.worker_timeout:g} s{problem}"

    @property
    def hopeless(self) -> str:
        """Why no lane can be waited for any more: no worker of one was heard for too long. Empty where one can."""
        if asyncio.get_running_loop().time() < self._heard + self.worker_timeout:
            return ""
        return self._said(NO_LANE)

    async def seated(self, lane: DaskLane) -> None:
        """Wait until this lane has taken its place; however long that takes while others have theirs."""
        since = asyncio.get_running_loop().time()
        while not lane.began:
            if self._any():
                since = asyncio.get_running_loop().time()
            await self._wait(since, "no Dask worker has taken a lane")

    async def seat_for(self, lane: DaskLane) -> Seat:
        """Where a lane's next batch goes: where its others are, else its own place, else that of the least busy."""
        # What is run again waits from when the last worker was heard; what comes when that is long ago, from now.
        since = self._heard if not self.hopeless else asyncio.get_running_loop().time()
        while True:
            own = lane.seat if lane.seat is not None and lane.seat.free else None
            if lane.away and lane.at is not None and lane.at.free:
                if own is None or own is lane.at:
                    return lane.at
            elif own is not None:
                return own
            elif others := [other.seat for other in self.lanes if other.seat is not None and other.seat.free]:
                return min(others, key=lambda seat: seat.busy)
            await self._wait(since, NO_LANE)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End all lanes, wherever they are, and give their threads back."""
        if self._closed or self._reach is None:
            return
        self._closed = True
        self._forgotten.detach()
        self._ring()
        for timer in self._forgetting:
            timer.cancel()
        tasks = [lane.seat.sitting for lane in self.lanes if lane.seat is not None and lane.seat.sitting is not None]
        tasks += self._watching
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._hearing.close(), self._fits.close(), return_exceptions=True)
        seats = self._seats()
        try:
            ends = await asyncio.gather(*(self._end(seat, kill=kill, timeout=timeout) for seat in seats))
        finally:
            for seat in seats:
                seat.future.release()
            await self._reach.close()
            await self.logs.close()
        if problems := [text for texts in ends for text in texts]:
            raise StepError(f"teardown raised in a worker:\n{problems[0]}")

    async def _end(self, seat: Seat, *, kill: bool, timeout: float) -> list[str]:
        if not seat.there or self._fatal or self._hearing.lasts(seat.address) > 2 * CONNECT_SECONDS:
            return []  # its lease ends, and with that the lane: whenever its worker hears of it
        with suppress(OSError, TimeoutError):  # it is gone: then so is the lane
            async with asyncio.timeout(KILL_SECONDS if kill else timeout + CONNECT_SECONDS):
                answer = await self.reach.ask(seat.address, "close", lease=seat.key, kill=kill, timeout=timeout)
                self._told(seat, answer)
                return [*answer["problems"]]
        return []


def _dropped(reach: Reach, logs: Handling) -> None:
    """The fleet is gone and was not closed: its connections are broken, so its leases end. Anywhere, or at exit."""
    logs.end()
    text = (
        "a PipeFrame was dropped while it was open: its lanes on the cluster are given up; use `async with PipeFrame()`"
    )
    warnings.warn(text, ResourceWarning, stacklevel=2)
    with suppress(Exception):  # of connections that have no loop any more
        reach.abandon()
