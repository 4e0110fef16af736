"""`executor="dask://host:port"`: lanes that live on the workers of a Dask cluster, and follow them as they come and go.

Comes in: who can have lanes, from the roster. Goes out: leases, one for each lane that is to have a place; which worker
is `_rules/placing.py`'s to say. Process: the client's; all of it runs on the loop of the frame.
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
from pipeframe_async.errors import StepError, WorkerLost
from pipeframe_async.executors.dask import probing
from pipeframe_async.executors.dask.at import Cluster
from pipeframe_async.executors.dask.calls import OPEN, WAITING
from pipeframe_async.executors.dask.lane import DaskLane
from pipeframe_async.executors.dask.reach import CONNECT_SECONDS, Reach, Unreachable
from pipeframe_async.executors.dask.roster import Roster
from pipeframe_async.executors.dask.seats import Seat
from pipeframe_async.executors.handling import Handling
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.wire import ChainRef, ChainSpec

NO_LANE = "there was no lane on any Dask worker"
KILL_SECONDS = 1.0
"""What a worker has to say that a lane was killed; it is all the same, when it hears of the end of its lease. Longer
holds up a cancel while a host is cut off, shorter leaves lanes behind for a moment where a Dask worker is only slow."""
GATHER_SECONDS = 3.0
"""What lanes that have been asked for have until a run is tied to those that are there. Shorter loses lanes to a slow
start, longer waits for threads that are at work for others."""
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
        self._roster: Roster
        self._leases = (f"pipeframe-{os.urandom(6).hex()}-{number}" for number in count())
        self._leaving: set[Seat] = set()  # given up, with batches that are still there
        self._changed = asyncio.Event()
        self._checking = asyncio.Lock()
        self._moves = 0
        self._heard = 0.0  # when a worker of a lane has said something last
        self._problem = ""  # why the last lane could not be where it was to be
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
        self._reach = await Reach.to(self._cluster, self.worker_timeout)
        self._forgotten = weakref.finalize(self, _dropped, self._reach, self.logs)
        self._roster = Roster(self._reach, self.worker_timeout, self)
        await self._roster.filled()
        self._heard = asyncio.get_running_loop().time()
        number = min(MOST_LANES, self._most or MOST_LANES)
        self.lanes = tuple(DaskLane(number, self) for number in range(number))
        self.fill()

    async def gathered(self) -> None:
        """Wait for lanes that are to have a place, as long as a fork server takes to start."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_SECONDS):
                while any(lane.seat is not None and not lane.began for lane in self.lanes):
                    await self._changed.wait()  # rung by whatever changes a seat

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain; each place gets it with its first batches, until one was answered."""
        return ship_chain(chain)

    async def check(self, chain: ChainSpec) -> None:
        """Find out whether the Dask workers have the modules that a chain names. Who lacks one gets no lanes any more.

        Raises:
            ConfigError: all of them lack one.
        """
        await self.checked(self.load(chain))

    async def checked(self, chain: ChainRef) -> None:
        """The same, of one that is pickled."""
        if not self._roster.has(chain.modules):
            async with self._checking:
                await self._roster.need(chain.modules)

    def seats(self) -> list[Seat]:
        """All places, also those that are given up and have batches."""
        return [*(lane.seat for lane in self.lanes if lane.seat is not None), *self._leaving]

    def told(self, seat: Seat, answer: dict[str, Any]) -> None:
        """What an answer says of its lane besides."""
        seat.told(answer)
        seat.heard = asyncio.get_running_loop().time()
        name = next((lane.name for lane in self.lanes if lane.seat is seat), f"a lane on {seat.address}")
        for chunk, positions in seat.lines(answer):
            self.logs.put(chunk, name, positions)

    def alive(self, address: str) -> None:
        """A worker has given a sign of life."""
        if any(seat.there for seat in self.seats() if seat.address == address):
            self._heard = asyncio.get_running_loop().time()

    def heard(self, seat: Seat, answer: dict[str, Any]) -> None:
        """A worker has answered."""
        self.told(seat, answer)
        self._roster.heard(seat.address)

    def unreachable(self, seat: Seat, why: str) -> None:
        """A worker cannot be connected to: it gets no lane before it has given a sign of life."""
        self._roster.shun(seat.address)
        self.lost(seat, why)

    def fill(self) -> None:
        """Ask for a place for each lane that has none, where there are any."""
        if self._closed or self.reach.status != "running":
            return
        waiting = [lane for lane in self.lanes if lane.seat is None]
        waiting.sort(key=lambda lane: (not lane.began, lane.number))  # those who have work first
        taken = Counter(lane.seat.address for lane in self.lanes if lane.seat is not None)
        taken.update(seat.address for seat in self._leaving)
        for lane, address in zip(waiting, places(self._roster.threads(), taken, len(waiting)), strict=False):
            key = next(self._leases)
            future = self.reach.lease(key, probing.lease(key, self._wear.max_batches, self._wear.max_rss), address)
            seat = lane.seat = Seat(key, address, future)
            seat.sitting = asyncio.get_running_loop().create_task(self._sit(seat), name=f"pipeframe-{key}")

    async def _sit(self, seat: Seat) -> None:
        """Wait until the lane is there."""
        try:
            while (answer := await self.reach.ask(seat.address, "opened", lease=seat.key))["is"] == WAITING:
                if self._closed or seat.over or seat.future.status not in ("pending", "finished"):  # it will not come
                    raise OSError(f"its lease is {seat.future.status}")
                self._problem = f"{seat.address}: its threads are at work for others"
        except Unreachable as error:
            self.unreachable(seat, str(error))
            return
        except (OSError, RuntimeError) as error:
            self._roster.doubt(seat.address)
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
        self._roster.hurry()

    def left(self, seat: Seat) -> None:
        """Its last batch has come back: the thread is Dask's again."""
        self._leaving.discard(seat)
        if not self._closed:
            seat.future.release()

    def returned(self) -> None:
        """A lane that was at another's place has nothing there any more: who waits in `seat_for` looks again."""
        self._ring()

    def ended(self) -> None:
        """The cluster is of no use any more: those who wait are told."""
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
        if self._roster.fatal or self._closed:
            raise WorkerLost(self._roster.fatal or "the lanes on the Dask cluster were closed")
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
        sitting = [seat.sitting for seat in self.seats() if seat.sitting is not None]
        for task in sitting:
            task.cancel()
        await asyncio.gather(*sitting, self._roster.close(), return_exceptions=True)
        seats = self.seats()
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
        if not seat.there or self._roster.fatal or self._roster.silent(seat.address) > 2 * CONNECT_SECONDS:
            return []  # its lease ends, and with that the lane: whenever its worker hears of it
        with suppress(OSError, TimeoutError):  # it is gone: then so is the lane
            async with asyncio.timeout(KILL_SECONDS if kill else timeout + CONNECT_SECONDS):
                answer = await self.reach.ask(seat.address, "close", lease=seat.key, kill=kill, timeout=timeout)
                self.told(seat, answer)
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
