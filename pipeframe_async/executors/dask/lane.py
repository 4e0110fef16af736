"""A lane whose place is on a Dask worker, and another one when that is gone.

Where its own place is gone and there is none for it, it shares that of another lane: batches of one key stay in order,
because a lane is at one place at a time. Process: the client's; all of it runs on the loop of the frame.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, Protocol

from pipeframe_async.errors import WorkerLost
from pipeframe_async.executors.dask import calls, frames
from pipeframe_async.executors.dask.reach import Reach, Unreachable
from pipeframe_async.executors.dask.seats import Seat
from pipeframe_async.executors.handling import Handling
from pipeframe_async.stats import WorkerStats
from pipeframe_async.wire import GONE, WANTED, ChainRef, Death, Packed, Refusal, Reply

BATCHES_IN_LANE = 2
"""One at work and one on its way: a hop over the network is longer than one over a socket pair."""
_tickets = count(1)  # of all lanes: no two batches of this process have the same


class Places(Protocol):
    """Who has the seats."""

    @property
    def reach(self) -> Reach:
        """The cluster."""

    @property
    def logs(self) -> Handling:
        """Handles what steps log."""

    async def seated(self, lane: DaskLane) -> None:
        """Wait until this lane has a seat of its own. Raises `WorkerLost` where nobody has one, for long."""

    async def seat_for(self, lane: DaskLane) -> Seat:
        """A seat for this lane, of its own or another's. Raises `WorkerLost` where there is none, for long."""

    def lost(self, seat: Seat, why: str) -> None:
        """A seat is of no use any more."""

    def left(self, seat: Seat) -> None:
        """A seat that was given up has no batch any more."""

    def returned(self) -> None:
        """A lane has nothing any more at another's place: what waits for that may go to its own."""

    def heard(self, seat: Seat, answer: dict[str, Any]) -> None:
        """It has answered."""

    async def checked(self, chain: ChainRef) -> None:
        """Find out whether the Dask workers have what a chain names, unless that is known. Raises `ConfigError`."""

    def unreachable(self, seat: Seat, why: str) -> None:
        """Its worker cannot be connected to: `lost`, and it gets no lane before it can."""

    @property
    def hopeless(self) -> str:
        """Why no lane can be waited for any more; empty where one can."""


class DaskLane:
    """A lane of one worker at a time, somewhere on the cluster.

    Args:
        number: its place in the fleet.
        places: who has the seats.
    """

    slots = BATCHES_IN_LANE

    def __init__(self, number: int, places: Places) -> None:
        self.number = number
        self._places = places
        self.seat: Seat | None = None  # its own
        self.began = False  # it has had one: from then on it takes batches
        self.at: Seat | None = None  # where its batches are
        self.away = 0  # how many
        self._held: dict[int, Seat] = {}  # where batches are suspended, by their numbers
        self._left: dict[str, int] = {}  # workers of seats it has left, that are no more, by cause

    @property
    def name(self) -> str:
        """With the host, where it has a place."""
        if self.seat is None:
            return f"lane {self.number}"
        return f"lane {self.number} on {self.seat.address.partition('://')[2]}"

    @property
    def workers(self) -> int:
        """One, from when a place is asked for; none while there is none to be had."""
        return int(self.began or self.seat is not None)

    def stats(self) -> WorkerStats:
        """What its worker is at, as the last answer had it."""
        seat, restarts = self.seat, dict(self._left)
        if seat is None:
            return WorkerStats(self.name, "restarting" if self.began else "stopped", restarts=restarts)
        for cause, number in seat.restarts.items():
            restarts[cause] = restarts.get(cause, 0) + number
        if not seat.there:
            return WorkerStats(self.name, "restarting" if self.began else "starting", restarts=restarts, host=seat.host)
        return WorkerStats(self.name, "idle", seat.pid, restarts=restarts, at=seat.at, host=seat.host)

    def unseat(self) -> None:
        """Its own place is gone."""
        if self.seat is not None:
            for cause, number in self.seat.restarts.items():
                self._left[cause] = self._left.get(cause, 0) + number
            self.seat = None

    async def start(self) -> None:
        """Have a place: for as long as that takes while others work."""
        await self._places.seated(self)

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Run one batch where the lane is."""
        while True:
            await self._places.checked(chain)
            if batch.resumes:
                seat = self._held.pop(batch.resumes, None)
                if seat is None or seat.over:
                    return Reply(0, refusal=Refusal(GONE, f"the worker of {self.name} that had it is gone"))
            else:
                seat = await self._places.seat_for(self)
            answer = await self._there(seat, chain, number, batch, ship)
            if isinstance(answer, Reply) and answer.suspended:
                self._held[answer.suspended] = seat
            if answer is not None:
                return answer

    async def _there(self, seat: Seat, chain: ChainRef, number: int, batch: Packed, ship: bool) -> Reply | Death | None:
        """The answer from this seat; None where it has not got the batch, and another one may."""
        self.at = seat
        if not seat.busy:
            seat.heard = asyncio.get_running_loop().time()
        ticket = next(_tickets)
        seat.positions[ticket] = batch.positions
        self.away += 1
        seat.busy += 1
        try:
            return await self._asked(seat, ticket, chain, number, batch, ship)
        finally:
            del seat.positions[ticket]
            self.away -= 1
            seat.busy -= 1
            if seat.over and not seat.busy:
                self._places.left(seat)
            if not self.away and self.seat is not seat:
                self._places.returned()

    async def _asked(
        self, seat: Seat, ticket: int, chain: ChainRef, number: int, batch: Packed, ship: bool
    ) -> Reply | Death | None:
        packed = batch._replace(data=frames.light(batch.data), positions=None)
        loop = asyncio.get_running_loop()
        while True:
            label, began = chain.label, loop.time()
            tag = "" if chain.more is None else chain.more.tag
            parcel = None if label in seat.known else _parcel(chain)
            call = calls.Call(chain.key, tag, chain.time_limit, parcel, number, packed, ship)
            wanted = self._places.logs.wanted()
            message = {"wanted": frames.dump(wanted)} if wanted is not seat.wanted else {}
            try:
                answer = await self._places.reach.ask(
                    seat.address, "run", lease=seat.key, ticket=ticket, call=frames.dump(tuple(call)), **message
                )
            except Unreachable as error:
                self._places.unreachable(seat, str(error))
                return None
            except OSError as error:
                return self._died(seat, batch, f"{type(error).__name__}: {error}")
            except asyncio.CancelledError:
                self._places.reach.tell(seat.address, "abandon", lease=seat.key, ticket=ticket)
                raise
            except Exception as error:  # what was sent, or came back, could not be read: which record it is halves tell
                return Death(f"{self.name} has no answer: {type(error).__name__}: {error}", ran=batch.records)
            seat.wanted = wanted
            self._places.heard(seat, answer)
            match answer["is"]:
                case "Reply":
                    reply: Reply = frames.load(answer["answer"])
                    reply = reply._replace(hop=max(0.0, loop.time() - began - answer["held"]))
                case "Death":
                    death: Death = frames.load(answer["answer"])
                    return death
                case calls.UNKNOWN:
                    seat.known.discard(label)
                    continue
                case calls.CUT:
                    return self._died(seat, batch, "its lease was ended")
                case calls.LOST:
                    raise WorkerLost(f"{self.name}: {answer['text']}")
                case kind:
                    assert kind == calls.GONE_AWAY
                    self._places.lost(seat, "its lease has ended")
                    return None
            seat.known.add(label)
            if reply.refusal is None or reply.refusal.kind != WANTED or chain.more is None:
                return reply
            chain.more.ask(reply.refusal.message)

    def _died(self, seat: Seat, batch: Packed, how: str) -> Death:
        """A Dask worker is gone, with what it had: somebody else's deed, as far as one can tell.

        Raises:
            WorkerLost: and so have been all others, for so long that it is of no use to wait for one.
        """
        cause = f"the Dask worker {seat.address} of {self.name} was lost: {how}"
        self._places.lost(seat, how)
        if why := self._places.hopeless:
            raise WorkerLost(why)
        return Death(cause, ran=batch.records, foreign=True)

    def drop(self, token: int) -> None:
        """Let its worker close the generators."""
        if (seat := self._held.pop(token, None)) is not None and not seat.over:
            self._places.reach.tell(seat.address, "drop", lease=seat.key, token=token)


def _parcel(chain: ChainRef) -> tuple[object, ...]:
    parcel = chain.parcel()
    return parcel if isinstance(parcel, tuple) else (parcel,)
