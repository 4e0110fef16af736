"""The places a run's batches can go to: the executor's lanes, and threads of this process where the executor has those.

Comes in: what batches cost. Goes out: the place for the next one. Which it is decides `_rules/worth.py`; what a place
is like, and how large batches are there, it says itself.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeframe_async._rules.batching import BESIDE, THREADS, Sizer
from pipeframe_async._rules.worth import At, Cost, Worth
from pipeframe_async.contracts import Codec, Executor, Lane, Threaded
from pipeframe_async.wire import ChainRef, ChainSpec, Reply

logger = logging.getLogger("pipeframe_async")


@dataclass(frozen=True, slots=True)
class Place:
    """How records get to where their steps run.

    Attributes:
        codec: makes bytes of them, or hands them over as they are.
        chain: the steps, ready to be run there.
        sizer: how large batches are there.
        at: what kind of place it is.
        lane: of this place; None where the slot that pulled a batch has one.
    """

    codec: Codec
    chain: ChainRef
    sizer: Sizer
    at: At = At.WORKERS
    lane: Lane | None = None

    @property
    def beside(self) -> bool:
        """It is in this process: nothing is copied there, and what runs there shares it with the loop."""
        return self.at is not At.WORKERS


class Places:
    """The places of one run, and the choice between them.

    Args:
        executor: whose lanes the run has.
        chain: all its `def` steps.
        loaded: they, ready to be run in the lanes.
        sizer: how large batches are in the lanes.
        segment: which of its segments this stage runs.
        retries: its records may be tried again, as they came.

    Attributes:
        moving: seconds that packing, moving and unpacking has taken, of all processes.
        worked: seconds in the steps that those batches had.
        records: how many were run at each kind of place.
        seconds: of work that was done at each kind of place of this process.
        teardowns: what `teardown` has returned in workers that have ended, and will have.
    """

    def __init__(
        self,
        executor: Executor,
        chain: ChainSpec,
        loaded: ChainRef,
        sizer: Sizer,
        segment: int = 0,
        *,
        retries: bool = False,
    ) -> None:
        self._away = Place(executor.codec, loaded.segment(segment), sizer)
        self._spec = chain
        self.teardowns = loaded.teardowns
        self._segment = segment
        self._executor = executor
        self._threads: Sequence[Executor] = executor.threads if isinstance(executor, Threaded) else ()
        self._made: dict[Executor, tuple[Place, Place]] = {}  # in threads, by whose; beside the loop, and in all
        # A step that must be ended in time needs a process that can be ended; a record that may be tried again, a copy.
        self._may_move = executor.beside is not None and chain.time_limit is None and not retries
        self._worth = Worth(sum(lane.workers for lane in executor.lanes), len(self._threads))
        self.moving = self.worked = 0.0
        self.records: Counter[At] = Counter()
        self.seconds: defaultdict[At, float] = defaultdict(float)
        self._known: set[Lane] = set()  # lanes that have answered before

    @property
    def can_move(self) -> bool:
        """Whether there is a choice at all."""
        return self._executor.beside is not None

    @property
    def threads(self) -> int:
        """How many there are that share no GIL."""
        return len(self._threads)

    @property
    def slower(self) -> float | None:
        """How many times longer a record was found to take in those; None where they were not tried."""
        return self._worth.slower

    @property
    def now(self) -> Place:
        """Where the next batch goes, whoever asks."""
        return self.of(0)

    def of(self, lane: int) -> Place:
        """Where the next batch goes that a slot of the lane of this number asks for."""
        at = self._worth.at if self._may_move else At.WORKERS
        if at is At.WORKERS:
            return self._away
        if at is At.BESIDE:
            assert self._executor.beside is not None
            return self._in_thread(self._executor.beside)[0]
        return self._in_thread(self._threads[lane % len(self._threads)])[1]

    def ran(self, place: Place, lane: Lane, reply: Reply, parent: float) -> None:
        """A batch was run there; `parent`: this process's seconds for packing and unpacking it.

        The first of a lane tells nothing: reading it is where a worker imports what the records are made of.
        """
        first = lane not in self._known
        self._known.add(lane)
        worker = 0.0 if place.beside else max(0.0, reply.cpu - reply.worked)
        if place.beside:
            self.seconds[place.at] += reply.wall if place.at is At.THREADS else reply.worked
        elif not first:
            self.moving += worker + parent
            self.worked += reply.worked
        self.records[place.at] += reply.records
        if not first and self._may_move:
            self._worth.ran(Cost(reply.records, reply.worked, worker, parent, reply.wall), place.at)

    def stay(self, why: str) -> Place:
        """The chain cannot be run in this process: it never is, from now on. Returns where it can."""
        if self._may_move:
            logger.warning(
                "the steps stay in their workers, although they would be run faster in this process: %s", why
            )
        self._may_move = False
        return self._away

    def _in_thread(self, there: Executor) -> tuple[Place, Place]:
        """The places of a thread; the chain is loaded there when it is first needed."""
        if (made := self._made.get(there)) is None:
            loaded = there.load(self._spec).segment(self._segment)
            made = self._made[there] = (
                Place(there.codec, loaded, self._away.sizer.at(BESIDE), At.BESIDE, there.lanes[0]),
                Place(there.codec, loaded, self._away.sizer.at(THREADS), At.THREADS, there.lanes[0]),
            )
        return made
