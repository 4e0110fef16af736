"""The places a run's batches can go to: the executor's lanes, and beside the loop where the executor has that.

Comes in: what batches cost. Goes out: the place for the next one. Which it is decides `_rules/worth.py`; what a place
is like, and how large batches are there, it says itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pipeframe_async._rules.batching import BESIDE, Sizer
from pipeframe_async._rules.worth import Cost, Worth
from pipeframe_async.contracts import Codec, Executor, Lane
from pipeframe_async.wire import ChainRef, ChainSpec, Reply

logger = logging.getLogger("pipeframe_async")


@dataclass(frozen=True, slots=True)
class Place:
    """How records get to where their steps run.

    Attributes:
        codec: makes bytes of them, or hands them over as they are.
        chain: the steps, ready to be run there.
        sizer: how large batches are there.
        lane: of this place; None where the slot that pulled a batch has one.
    """

    codec: Codec
    chain: ChainRef
    sizer: Sizer
    lane: Lane | None = None

    @property
    def beside(self) -> bool:
        """It is beside the loop, in this process: nothing is copied there, and the GIL is shared."""
        return self.lane is not None


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
        now: where the next batch goes.
        moving: seconds that packing, moving and unpacking has taken, of all processes.
        worked: seconds in the steps that those batches had.
        records: how many were run, in all.
        beside_records: how many records were run beside the loop.
        beside_seconds: and how many seconds of work these were.
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
        self.away = self.now = Place(executor.codec, loaded.segment(segment), sizer)
        self._spec = chain
        self._segment = segment
        self._executor = executor
        self._beside: Place | None = None
        # A step that must be ended in time needs a process that can be ended; a record that may be tried again, a copy.
        self._may_move = executor.beside is not None and chain.time_limit is None and not retries
        self._worth = Worth(sum(lane.workers for lane in executor.lanes))
        self.moving = self.worked = 0.0
        self.records = self.beside_records = 0
        self.beside_seconds = 0.0
        self._known: set[Lane] = set()  # lanes that have answered before

    @property
    def can_move(self) -> bool:
        """Whether there is a choice at all."""
        return self._executor.beside is not None

    def ran(self, place: Place, lane: Lane, reply: Reply, parent: float) -> None:
        """A batch was run there; `parent`: this process's seconds for packing and unpacking it.

        The first of a lane tells nothing: reading it is where a worker imports what the records are made of.
        """
        first = lane not in self._known
        self._known.add(lane)
        worker = 0.0 if place.beside else max(0.0, reply.cpu - reply.worked)
        if place.beside:
            self.beside_records += reply.records
            self.beside_seconds += reply.worked
        elif not first:
            self.moving += worker + parent
            self.worked += reply.worked
        self.records += reply.records
        if first or not self._may_move:
            return
        self._worth.ran(Cost(reply.records, reply.worked, worker, parent), beside=place.beside)
        self.now = self._besides() if self._worth.beside else self.away

    def stay(self, why: str) -> Place:
        """The chain cannot be run beside the loop: it never is, from now on. Returns where it can."""
        if self._may_move:
            logger.warning(
                "the steps stay in their workers, although they do not take as long as the way there: %s", why
            )
        self._may_move, self.now = False, self.away
        return self.away

    def _besides(self) -> Place:
        """The place beside the loop; the chain is loaded there when it is first needed."""
        if self._beside is None:
            there = self._executor.beside
            assert there is not None
            loaded = there.load(self._spec).segment(self._segment)
            self._beside = Place(there.codec, loaded, self.away.sizer.at(BESIDE), there.lanes[0])
        return self._beside
