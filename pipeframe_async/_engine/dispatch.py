"""Backlog → lanes → collect. Each lane has as many slots as it takes batches; a slot asks for the next
batch when it has room, so the lanes pull, and nothing queues where it cannot be reached.

Tasks: one per slot. A batch belongs to its slot from the cut until its answer is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Answer, Batch
from pipeframe_async._engine.cut import Cutter
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.ledger import Ledger, Outcome
from pipeframe_async._rules.timing import StepClock, gather
from pipeframe_async.contracts import Codec, Lane
from pipeframe_async.errors import InternalError, StepError
from pipeframe_async.model import AnyFailure
from pipeframe_async.wire import BROKEN_CHAIN, UNREADABLE, ChainRef, Reply


class Dispatch:
    """Serves the lanes of one run.

    Args:
        codec: how records travel.
        chain: the steps, ready to run.
        names: the steps' names.
        ship: whether results are wanted back.
        backlog: where records wait.
        ledger: the books.
        sizer: how many records a batch takes.
        clocks: gather step times.
        collect: takes each answer.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        chain: ChainRef,
        names: Sequence[str],
        ship: bool,
        backlog: Backlog,
        ledger: Ledger,
        sizer: Sizer,
        clocks: Sequence[StepClock],
        collect: Callable[[Answer], None],
    ) -> None:
        self._codec = codec
        self._chain = chain
        self._names = names
        self._ship = ship
        self._backlog = backlog
        self._ledger = ledger
        self._sizer = sizer
        self._clocks = clocks
        self._collect = collect
        self._cutter = Cutter(backlog=backlog, codec=codec, step=names[0], ledger=ledger, sizer=sizer, ship=ship)
        self._busy: dict[Lane, int] = {}  # batches in each lane that has started
        self.work_seconds = 0.0

    def settled(self) -> None:
        """Bytes or permits came free."""
        if self._cutter.starved:
            self._backlog.bell.ring()

    @property
    def working(self) -> bool:
        """Whether a lane has a batch."""
        return any(self._busy.values())

    async def serve(self, lane: Lane) -> None:
        """One slot's life: take a batch, have it run, hand its answer on, until there is no more."""
        await lane.start()
        self._busy.setdefault(lane, 0)
        while (batch := await self._next(lane)) is not None:
            self._busy[lane] += 1
            try:
                answer = await self._run(lane, batch)
            finally:
                self._busy[lane] -= 1
            self._collect(answer)

    async def _next(self, lane: Lane) -> Batch | None:
        """The next batch for this lane, or None when there will be none."""
        while (batch := self._cut(lane)) is None:
            if self._backlog.exhausted:
                return None
            await self._backlog.bell.wait()
        if self._backlog.exhausted:
            self._backlog.bell.ring()  # this was the last one: slots that wait can go home
        return batch

    def _cut(self, lane: Lane) -> Batch | None:
        return self._cutter.cut(
            idle=self._busy[lane] < lane.workers,
            idle_workers=sum(max(0, lane.workers - busy) for lane, busy in self._busy.items()),
            workers=sum(lane.workers for lane in self._busy),
        )

    async def _run(self, lane: Lane, batch: Batch) -> Answer:
        """Have a batch run; one whose bytes or results cannot be read as a whole is run again in frames."""
        if not batch.packed.records:
            return self._answer(batch, Reply(0), [], {})
        reply = await self._call(lane, batch)
        if reply.fault is not None and reply.fault.kind == UNREADABLE and not batch.packed.framed:
            self._reframe(batch)
            reply = await self._call(lane, batch)
        if reply.fault is not None:
            raise _fault(reply)
        try:
            results, unread = self._codec.unpack(reply, self._names[-1])
        except BaseException as error:
            if batch.packed.framed:
                raise InternalError(f"framed results could not be read: {error!r}") from error
            self._ledger.re_executed += batch.packed.records
            self._reframe(batch)
            return await self._run(lane, batch)
        self._sizer.replied(reply.records, reply.nbytes, wall=reply.wall, cpu=reply.cpu)
        return self._answer(batch, reply, results, unread)

    async def _call(self, lane: Lane, batch: Batch) -> Reply:
        reply = await lane.run(self._chain, batch.number, batch.packed, ship=self._ship)
        self.work_seconds += reply.wall
        if reply.fault is None:
            gather(self._clocks, reply.steps)
        return reply

    def _reframe(self, batch: Batch) -> None:
        assert batch.records is not None  # what comes from disk comes in frames
        batch.packed, batch.rejected = self._codec.pack_frames(batch.records, self._names[0])

    def _answer(self, batch: Batch, reply: Reply, results: list[Any], unread: dict[int, AnyFailure]) -> Answer:
        """What came of the batch: in `reply`, before it in `rejected`, and after it in `unread` results."""
        places = batch.places()
        spans = {places[index]: span for index, span in reply.spans.items()} | dict.fromkeys(batch.rejected, 0)
        failures = [
            self._placed(batch, places[index], failure) for index, failure in self._codec.failures(reply, self._names)
        ]
        owners = reply.owners() if unread else []
        for at, failure in unread.items():
            index = places[owners[at]]
            failures.append(self._placed(batch, index, replace(failure, record=None)))
            spans[index] = spans.get(index, 1) - 1
        failures = sorted([*batch.rejected.items(), *failures], key=itemgetter(0))
        outcome = Outcome(
            delivered=reply.delivered - len(unread),
            bypassed=reply.bypassed,
            filtered=reply.filtered,
            failed=len(failures),
            emitted=reply.emitted,
        )
        if outcome.records != batch.count:
            raise InternalError(f"batch of {batch.count} records came back as {outcome}")
        self._ledger.charge(batch.number, reply.nbytes)
        return Answer(batch.number, batch.first, batch.count, outcome, results, failures, spans)

    def _placed(self, batch: Batch, index: int, failure: AnyFailure) -> tuple[int, AnyFailure]:
        """A failure with its record's index; and with the record, where it did not come back with the failure."""
        if failure.record is None and batch.records is not None:
            failure = replace(failure, record=batch.records[index])
        return index, failure


def _fault(reply: Reply) -> Exception:
    assert reply.fault is not None
    known = reply.fault.kind == BROKEN_CHAIN
    error = StepError(reply.fault.message) if known else InternalError(f"{reply.fault.kind}: {reply.fault.message}")
    if reply.fault.traceback:
        error.add_note(f"In the worker:\n{reply.fault.traceback}")
    return error
