"""An executor's lanes, how many batches each has of all the runs that share them, and whose turn it is.

One for each executor, made by the frame that made or was given it; every run's dispatch says what it gives and gets
back, and asks before it takes. Whose turn it is decides `_rules/sharing.py`; who is told to wait is rung when that may
have changed. Used on one loop only.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.lanes.carry import refused
from pipeframe_async._rules.occupancy import Occupancy
from pipeframe_async._rules.sharing import Share, Sharing, level
from pipeframe_async.contracts import Executor, Lane
from pipeframe_async.errors import WorkerLost
from pipeframe_async.stats import WorkerStats
from pipeframe_async.wire import PAUSED, ChainRef, ChainSpec, Death, Packed

NOTHING = pickle.dumps([])


@dataclass(slots=True, eq=False)
class Claim:
    """One run's, on the lanes.

    Attributes:
        share: what it has had, and before whom it goes.
        bell: rings when it may look again.
        wants: whether it would take a lane now, if it may.
        called: it is of calls; with those of runs alone nobody needs to ask.
        content: when it looked last, it had nothing to do.
        nudged: how often others have it look just now, who know nothing of what it has to do.
    """

    share: Share
    bell: Bell
    wants: Callable[[Lane], bool]
    called: bool = False
    content: bool = True
    nudged: int = 0

    def looked(self) -> None:
        """Those who were woken by others have."""
        self.nudged -= 1


@dataclass(slots=True, eq=False)
class Given:
    """A batch that is in a lane.

    Attributes:
        began: where its account of worker seconds did.
        paid: worker seconds that those behind have paid for it in advance; None where it cost them nothing.
        resting: it is in its worker and waits for others, as if it were not there.
        worked: worker seconds that it has had before it rested.
    """

    claim: Claim
    lane: Lane
    began: float
    paid: float | None = None
    resting: bool = False
    worked: float = 0.0


class Workforce:
    """Who works, and who has something to do.

    Args:
        executor: whose lanes they are.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._since: dict[Lane, float] = {}  # when each was given something after a pause
        self._lanes = {lane: Occupancy() for lane in executor.lanes}
        self._sharing = Sharing()
        self._claims: dict[Claim, None] = {}
        self._called = 0  # of those
        self._given: dict[Given, None] = {}
        self._ringing = False  # in the next turn of the loop
        self._held: dict[tuple[Claim, Lane], None] = {}  # who was told to wait, and looks again when anything changes

    async def ready(self, chains: Sequence[ChainSpec]) -> None:
        """Start all workers, and have each load these chains and run their `setup`.

        Raises:
            WorkerLost: none could be started.
            StepError: a chain cannot be loaded in a worker, or its `setup` raised.
        """
        refs = [self.executor.load(chain) for chain in chains]
        there = [lane for lane in self.executor.lanes if lane.workers]  # others wait for a place, maybe for ever
        await asyncio.gather(*(self._readied(lane, refs) for lane in there))

    async def _readied(self, lane: Lane, refs: Sequence[ChainRef]) -> None:
        await lane.start()
        for ref in refs:
            # A batch of no records, for each worker that it may go to. The lane's others go on meanwhile.
            replies = await asyncio.gather(
                *(lane.run(ref, 0, Packed(0, NOTHING), ship=False) for _ in range(lane.workers))
            )
            for reply in replies:
                if isinstance(reply, Death):
                    raise WorkerLost(f"a worker died as it loaded a pipeline: {reply.cause}")
                if reply.refusal is not None and reply.refusal.kind != PAUSED:  # at work: it is loaded
                    raise refused(reply.refusal)

    def join(self, claim: Claim) -> None:
        """One more shares the lanes."""
        self._claims[claim] = None
        self._called += claim.called
        level(claim.share, [other.share for other in self._claims])

    def leave(self, claim: Claim) -> None:
        """It wants nothing any more."""
        if claim in self._claims:
            del self._claims[claim]
            self._let_go(claim)
            self._called -= claim.called
            self._ring()

    @property
    def shared(self) -> bool:
        """Whether anybody needs to ask: not where there are runs only, which take turns in the lanes."""
        return self._called > 0

    @property
    def workers(self) -> int:
        """Of all lanes, at least 1: where none has a place, one will."""
        return sum(lane.workers for lane in self._lanes) or 1

    @property
    def idle_workers(self) -> int:
        """Those with nothing to do."""
        return sum(max(0, lane.workers - occupied.batches) for lane, occupied in self._lanes.items())

    def runs_beside(self) -> bool:
        """Whether anybody shares the lanes who has a share kept."""
        return any(not claim.share.first for claim in self._claims)

    def remaining(self) -> float:
        """Worker seconds that what is in the lanes will still take, by what its like have taken."""
        return sum(max(0.0, given.claim.share.batch_seconds - self._had(given)) for given in self._given)

    def may_have(self, claim: Claim, lane: Lane) -> bool:
        """Whether it is this one's turn to take the lane; where not, its bell rings when it should look again."""
        if claim.content:
            claim.content = False
            level(claim.share, [other.share for other in self._claims])
        if claim.share.patient and self.busy(lane):
            self._held[claim, lane] = None
            return False
        rivals = {other.share: other for other in self._claims if other is not claim and other.wants(lane)}
        favoured = self._sharing.favoured(claim.share, [*rivals]) if rivals else None
        if favoured is None:
            self._held.pop((claim, lane), None)
            return True
        self._held[claim, lane] = None
        self._nudge(rivals[favoured])  # it takes the lane, or says that it cannot
        return False

    def holds(self, claim: Claim) -> bool:
        """Whether it has been told to wait."""
        return any(held is claim for held, _ in self._held)

    def passed(self, claim: Claim, lane: Lane | None = None) -> None:
        """It has looked, and takes nothing: those may who were told to wait; for this lane, where it is only that."""
        if lane is None:
            self._let_go(claim)
            self._ring_soon()
            return
        for held in [held for held, where in self._held if where is lane and held is not claim]:
            self._held.pop((held, lane))
            self._nudge(held)

    @staticmethod
    def _nudge(claim: Claim) -> None:
        """Have it look again; what it could not take before it does not want by that, else all went in circles."""
        claim.nudged += 1
        claim.bell.ring()
        asyncio.get_running_loop().call_soon(claim.looked)  # behind those who were woken

    def _let_go(self, claim: Claim) -> None:
        for held in [held for held in self._held if held[0] is claim]:
            del self._held[held]

    def _ring_soon(self) -> None:
        """What was cut in this turn of the loop is in its lane first: the task that carries it has yet to begin."""
        if self._held and not self._ringing:
            self._ringing = True
            asyncio.get_running_loop().call_soon(self._ring)

    def _ring(self) -> None:
        self._ringing = False
        if self._held:
            held, self._held = self._held, {}
            for claim in dict.fromkeys(claim for claim, _ in held):
                self._nudge(claim)

    def gave(self, lane: Lane, claim: Claim) -> Given:
        """A lane has one batch more."""
        if not self._lanes[lane].batches:
            self._since[lane] = time.perf_counter()
        given = Given(claim, lane, self._lanes[lane].came(_now(), lane.workers))
        self._given[given] = None
        if self.shared:
            if not claim.share.first and any(other.share.first and not other.content for other in self._claims):
                given.paid = claim.share.batch_seconds
                self._sharing.spend(given.paid)
            self._ring_soon()
        return given

    def got_back(self, given: Given) -> None:
        """A lane has one batch less."""
        # No generator: an abandoned run comes here in the last steps of an interpreter, where CPython from 3.14 on has
        # freed the `any` that is compiled for one.
        kept_waiting = False in [held.share.first for held, _ in self._held]
        self.rests(given, resting=True)
        del self._given[given]
        share = given.claim.share
        share.worked(given.worked)
        if given.paid is not None:
            self._sharing.spend(given.worked - given.paid)
        elif share.first and kept_waiting:
            self._sharing.earn(given.worked)
        self._ring()

    def rests(self, given: Given, *, resting: bool) -> None:
        """A batch waits for others in its worker, which is free meanwhile; or goes on."""
        if resting == given.resting:
            return
        lane, occupied = given.lane, self._lanes[given.lane]
        if resting:
            given.worked += occupied.went(_now(), lane.workers) - given.began
        else:
            given.began = occupied.came(_now(), lane.workers)
        given.resting = resting
        self._ring()

    def _had(self, given: Given) -> float:
        """Worker seconds that a batch has had."""
        if given.resting:
            return given.worked
        return given.worked + self._lanes[given.lane].now(_now(), given.lane.workers) - given.began

    def stats(self) -> tuple[WorkerStats, ...]:
        """What each lane is at that has a worker, or will have. Looks only, so any thread may ask."""
        return tuple(self._stats(lane) for lane in self.executor.lanes if lane.workers)

    def _stats(self, lane: Lane) -> WorkerStats:
        look = getattr(lane, "stats", None)
        stats: WorkerStats = WorkerStats(lane.name, "idle") if look is None else look()
        if not (batches := self._lanes[lane].batches):
            return stats
        state = "busy" if stats.state == "idle" else stats.state
        return replace(stats, state=state, batches=batches, busy_seconds=time.perf_counter() - self._since[lane])

    def busy(self, lane: Lane) -> bool:
        """Whether all its workers have something to do."""
        return self._lanes[lane].batches >= lane.workers


def _now() -> float:
    return asyncio.get_running_loop().time()
