"""In a Dask worker: our lanes that live there, each with a process of its own, and what the client asks of them.

Comes in: batches, by handlers of the Dask worker, past the scheduler. Goes out: replies and deaths. A lane is here for
as long as its lease, a task of Dask's, holds a thread (`lease.py`); it is the lane of `executor="processes"`, and knows
nothing of where it is.

Process: the Dask worker's. All of it runs on its loop, but that a lease asks it from its thread.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from distributed import Worker as DaskWorker

from pipeframe_async._rules.wear import Wear
from pipeframe_async._worker.surroundings import open_standard_streams
from pipeframe_async.errors import ConfigError, WorkerLost
from pipeframe_async.executors.dask import frames
from pipeframe_async.executors.dask.asking import missing
from pipeframe_async.executors.dask.calls import CUT, GONE_AWAY, LOST, OPEN, UNKNOWN, WAITING, Call, Relayed
from pipeframe_async.executors.dask.lines import Lines
from pipeframe_async.executors.hosts import check_semaphores, make_room
from pipeframe_async.executors.processes.lane import ProcessLane
from pipeframe_async.executors.processes.launch import DEFAULT_METHOD
from pipeframe_async.executors.processes.worker import Worker
from pipeframe_async.wire import ChainRef, Death, Reply

EXTENSION = "pipeframe_async"
"""What the Dask worker knows us by; it closes its extensions when it closes."""
LOOK_SECONDS = 5.0
"""How long a client that asks for a lane which is not there yet is kept waiting before it is told so."""
MOST_CHAINS = 16
"""Chains that are kept for lanes which have not got them. Fewer are sent again, more hold what is large."""
CLOSE_SECONDS = 3.0
"""What lanes have for their batches where the Dask worker closes, and again for their teardown: its nanny kills it
after 8. Less cuts long batches, which are run again elsewhere."""


@dataclass(eq=False, slots=True)
class Leased:
    """A lane that lives here.

    Attributes:
        lane: it.
        lines: what its steps have logged, and the client has not got.
        ended: its lease may end.
        leaving: it takes no more batches.
        running: by the client's ticket, the batches that it has.
        closing: its end, which is one however many want it.
    """

    lane: ProcessLane
    lines: Lines
    ended: threading.Event = field(default_factory=threading.Event)
    leaving: bool = False
    running: dict[int, asyncio.Task[Reply | Death]] = field(default_factory=dict)
    closing: asyncio.Task[list[str]] | None = None


class Host:
    """The lanes of one Dask worker.

    Args:
        worker: the Dask worker.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._leases: dict[str, Leased] = {}
        self._failed: dict[str, str] = {}  # leases whose lane could not start
        self._chains: dict[tuple[str, str], tuple[Any, ...]] = {}  # parcels, by the chain's key and the supply's tag
        self._changed = asyncio.Event()
        self._number = 0
        for name in ("lacks", "opened", "run", "drop", "abandon", "look", "close"):
            worker.handlers[f"pipeframe_{name}"] = getattr(self, f"handle_{name}")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where all of it runs."""
        loop: asyncio.AbstractEventLoop = self._worker.loop.asyncio_loop
        return loop

    @property
    def stays(self) -> bool:
        """Whether the Dask worker goes on; one that is retired, or is closing, does not."""
        return self._worker.status.name in ("running", "paused")

    async def open(self, key: str, wear: Wear) -> Leased:
        """Have a lane for a lease, and its worker at work."""
        open_standard_streams()
        check_semaphores()
        make_room(len(self._leases) + 1)
        self._number += 1
        name = f"lane {self._number} on {self._worker.address}"
        # One thread of the Dask worker is a core's worth: a library of numbers in the lane starts no more.
        lines = Lines()
        new_worker = partial(
            Worker, DEFAULT_METHOD, weigh=wear.max_rss is not None, inner_threads=1, logs=lines, name=name
        )
        leased = Leased(ProcessLane(self._number, wear, new_worker), lines)
        try:
            await leased.lane.start()
        except (WorkerLost, ConfigError) as error:
            self._failed[key] = str(error)
            await self._end(leased, kill=True, timeout=0.0)
            raise
        except asyncio.CancelledError:
            await self._end(leased, kill=True, timeout=0.0)
            raise
        else:
            self._leases[key] = leased
            return leased
        finally:
            self._ring()

    def _ring(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def leave(self, key: str, *, kill: bool, timeout: float) -> list[str]:
        """A lease ends: its lane takes no more, finishes what it has, and ends; at once with `kill`.

        Returns the traceback of each teardown that raised.
        """
        if (leased := self._leases.get(key)) is None:
            return []
        leased.leaving = True
        if not kill and leased.running:
            await asyncio.wait([*leased.running.values()], timeout=timeout)
        try:
            return await self._end(leased, kill=kill, timeout=timeout)
        finally:
            self._leases.pop(key, None)
            leased.ended.set()
            if not self._leases:
                self._chains.clear()  # of clients that have gone: who comes sends them again

    async def _end(self, leased: Leased, *, kill: bool, timeout: float) -> list[str]:
        leased.leaving = True
        leased.lane.closing()
        if kill:
            leased.lane.kill()
        if leased.closing is None:
            leased.closing = asyncio.ensure_future(leased.lane.close(graceful=not kill))
        # It waits in threads for its workers: nothing but their end makes those return.
        watchdog = self.loop.call_later(timeout, partial(leased.lane.kill, overdue=True))
        try:
            return await asyncio.shield(leased.closing)
        finally:
            watchdog.cancel()

    async def close(self) -> None:
        """The Dask worker closes: so do they, when they have finished what they have."""
        await asyncio.gather(*(self.leave(key, kill=False, timeout=CLOSE_SECONDS) for key in [*self._leases]))

    async def handle_opened(self, lease: str) -> dict[str, Any]:
        """Whether the lane of this lease is there by now."""
        deadline = self.loop.time() + LOOK_SECONDS
        while lease not in self._leases and lease not in self._failed:
            left = deadline - self.loop.time()
            if left <= 0 or not self.stays:
                return {"is": WAITING}
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                pass
        if (problem := self._failed.pop(lease, None)) is not None:
            return {"is": LOST, "text": problem}
        return {"is": OPEN, **self._state(self._leases[lease])}

    async def handle_lacks(self, modules: list[str]) -> dict[str, Any]:
        """Which of these modules are not here. In a thread: one that no finder knows is looked for by its import."""
        return {"modules": await asyncio.to_thread(missing, modules)}

    async def handle_run(self, lease: str, ticket: int, call: Any, wanted: Any = None) -> dict[str, Any]:
        """Have a lane run a batch. The answer says how long it was held here."""
        began = self.loop.time()
        leased = self._leases.get(lease)
        if leased is None or leased.leaving or not self.stays:
            return {"is": GONE_AWAY}
        asked: Call = Call(*frames.load(call))
        if wanted is not None:
            leased.lines.want(frames.load(wanted))
        if (chain := self._chain(asked)) is None:
            return {"is": UNKNOWN}
        # What is logged says the batch; where that is in the feed only the client knows, by its ticket.
        batch = asked.packed._replace(data=frames.light(asked.packed.data), positions=(ticket,))
        running = leased.running[ticket] = asyncio.ensure_future(
            leased.lane.run(chain, asked.number, batch, ship=asked.ship)
        )
        try:
            answer = await running  # `abandon` cancels it, not this, which is the talk with the client
        except asyncio.CancelledError:
            return {"is": GONE_AWAY}
        except (WorkerLost, ConfigError) as error:
            return {"is": CUT} if leased.leaving else {"is": LOST, "text": str(error)}
        finally:
            leased.running.pop(ticket, None)
        if isinstance(answer, Reply):
            answer = answer._replace(results=frames.light(answer.results))
        elif answer.done is not None:
            answer = answer._replace(done=answer.done._replace(results=frames.light(answer.done.results)))
        held = self.loop.time() - began
        return {"is": type(answer).__name__, "answer": frames.dump(answer), "held": held, **self._state(leased)}

    def _chain(self, asked: Call) -> ChainRef | None:
        """What is to be run; None where this worker does not have it."""
        base = asked.chain.partition("#")[0]
        if asked.parcel is not None:
            self._chains[base, asked.tag] = asked.parcel
            while len(self._chains) > MOST_CHAINS:  # who still wants the oldest is asked for it again
                del self._chains[next(iter(self._chains))]
        if (parcel := self._chains.get((base, asked.tag))) is None:
            return None
        data, *supply = parcel
        return ChainRef(asked.chain, data, asked.time_limit, Relayed(*supply) if supply else None)

    def _state(self, leased: Leased) -> dict[str, Any]:
        """What is to be told of a lane with each answer."""
        stats = leased.lane.stats()
        state: dict[str, Any] = {
            "starts": leased.lane.starts,
            "pid": stats.pid,
            "restarts": dict(stats.restarts),
            "at": stats.at,
        }
        if lines := leased.lines.take():
            state["lines"] = frames.dump([tuple(told) for told in lines])
        return state

    async def handle_drop(self, lease: str, token: int) -> dict[str, Any]:
        """Nobody wants the rest of a batch."""
        if (leased := self._leases.get(lease)) is not None:
            leased.lane.drop(token)
        return {}

    async def handle_abandon(self, lease: str, ticket: int) -> dict[str, Any]:
        """Nobody waits for this batch any more."""
        if (leased := self._leases.get(lease)) is not None and (running := leased.running.get(ticket)) is not None:
            running.cancel()
        return {}

    async def handle_look(self, leases: list[str]) -> dict[str, Any]:
        """What these lanes are at in the middle of long batches. An answer is a sign of life, too."""
        return {key: self._state(leased) for key in leases if (leased := self._leases.get(key)) is not None}

    async def handle_close(self, lease: str, kill: bool, timeout: float) -> dict[str, Any]:
        """The frame is closed: end the lane, and with it its lease."""
        leased = self._leases.get(lease)
        problems = await self.leave(lease, kill=kill, timeout=timeout)
        return {"problems": problems, **({} if leased is None else self._state(leased))}


def host_of(worker: Any) -> Host:
    """The host of a Dask worker; made when it is first asked for."""
    found = worker.extensions.get(EXTENSION)
    if not isinstance(found, Host):
        found = worker.extensions[EXTENSION] = Host(worker)
    return found


def install() -> None:
    """Be ready in all Dask workers of this process. On the loop of one."""
    for worker in [*DaskWorker._instances]:
        if worker.status.name in ("running", "paused"):
            host_of(worker)
