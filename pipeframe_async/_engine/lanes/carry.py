"""One batch through a lane, until each of its records has an outcome, whatever its workers die of.

Comes in: a batch. Goes out: its answer. What is run next is the inquest's to decide (`_rules/blame.py`); here
it is run, and the pieces are put together.

Tasks: called by a slot of dispatch, which owns the batch meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from operator import attrgetter, itemgetter
from typing import Any

from pipeframe_async._engine.journeys.frozen import Frozen
from pipeframe_async._engine.lanes.batch import Batch
from pipeframe_async._engine.lanes.paused import Paused, known
from pipeframe_async._engine.lanes.places import Place, Places
from pipeframe_async._engine.settling.answer import NOBODY, Answer, answer_of
from pipeframe_async._engine.settling.traces import Traces
from pipeframe_async._rules.blame import Inquest
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async._rules.relief import Relief
from pipeframe_async._rules.retry import Retrying
from pipeframe_async._rules.timing import BatchClock, StepClock, gather
from pipeframe_async.contracts import Cedes, Codec, Lane
from pipeframe_async.counting import Counts, add
from pipeframe_async.errors import InternalError, StepError
from pipeframe_async.model import AnyFailure, FailureKind, made_again
from pipeframe_async.weight import LARGE_BYTES
from pipeframe_async.wire import (
    BROKEN_CHAIN,
    GONE,
    PAUSED,
    UNREADABLE,
    Death,
    Live,
    Packed,
    Portions,
    Refusal,
    Reply,
    WireFailure,
)

Unpacked = tuple[list[Any], dict[int, AnyFailure]]
"""Those that could be read; and by index among all of them, the failures of those that could not."""


DEATHS: dict[FailureKind, str] = {"timeout": "TimeoutError", "crashed": "WorkerLost", "unpicklable": "MemoryError"}
"""What the error of a failure is called where there was no reply, by its kind."""


RESULT_BYTES = 100
"""What a result of a portion counts at least: there may be any number, and small ones take more as objects."""


class _Ceding(dict[Lane, Cedes | None]):
    """The lanes that cede some of a batch. Remembered: to look takes 10 us, and idle slots look often."""

    def __missing__(self, lane: Lane) -> Cedes | None:
        self[lane] = cedes = lane if isinstance(lane, Cedes) else None
        return cedes


@dataclass(slots=True)
class _Trial:
    """A batch on its way: what is still to be run, and what came of the rest.

    Attributes:
        ceding: by lane, it as one that cedes some of a batch; None where it does not.
        readable: indices of records that a worker was seen to have read before it died.
        reading: seconds that reading large results has taken beside the loop.
        first: index of the first record that has not left in a portion.
        gone: the path to the first of its children that has not.
        suspended: the batch goes on in its worker, under this number; 0 where it has none there.
        origin: index in the batch of the record that is 0 there.
        packed: what its lane was given of it, and has.
        asked: its lane was asked to cede some of it, and may answer for fewer records than it was given.
        taken: the last portion was.
        paused: what others know of it, once a portion has come.
    """

    batch: Batch
    away: Lane
    ceding: Mapping[Lane, Cedes | None]
    inquest: Inquest
    pieces: list[tuple[int, Reply, Unpacked]] = field(default_factory=list)
    blamed: dict[int, AnyFailure] = field(default_factory=dict)
    readable: set[int] = field(default_factory=set)
    reading: float = 0.0
    first: int = 0
    gone: tuple[int, ...] = ()
    suspended: int = 0
    origin: int = 0
    packed: Packed | None = None
    asked: bool = False
    taken: asyncio.Event | None = None
    paused: Paused | None = None

    @property
    def lane(self) -> Lane:
        return self.batch.place.lane or self.away

    @property
    def codec(self) -> Codec:
        return self.batch.place.codec

    @property
    def may_give(self) -> bool:
        """Whether others could have some of it, now or once its lane has it: it is as it was cut, and more than one."""
        batch = self.batch
        if batch.parts or batch.rejected or batch.packed.framed or self.pieces or self.paused is not None:
            return False
        return batch.count > 1 and self.inquest.stretch == (0, batch.count) and self.ceding[self.lane] is not None

    @property
    def gives(self) -> tuple[Cedes, Packed] | None:
        """Who could cede some of it now, and of what; None where nobody could."""
        packed, lane = self.packed, self.ceding[self.lane]
        return (lane, packed) if packed is not None and lane is not None and self.may_give else None


@dataclass(slots=True)
class _Added:
    """The pieces of an answer, added up; as `Answer` has them."""

    failures: list[tuple[int, AnyFailure]]
    spans: dict[int, int]
    grown: dict[int, int] = field(default_factory=dict)
    again: set[int] = field(default_factory=set)
    results: list[Any] = field(default_factory=list)
    bypass_at: list[int] = field(default_factory=list)
    delivered: int = 0
    filtered: int = 0
    nbytes: int = 0


class Carrier:
    """Has the batches of one run carried out.

    Args:
        places: where batches are run, and what that costs.
        names: the steps' names.
        ship: whether results are wanted back.
        ledger: the books.
        clocks: gather step times.
        counters: what steps have counted.
        traces: of records that are in one.
        batches: gathers what batches are like.
        aside: calls what takes long, in a thread.
        retrying: which failures are worth another attempt; None where none is.
        portions: how much of a fan-out may be under way, where its line takes portions.
        numbers: counts batches.
    """

    def __init__(
        self,
        *,
        places: Places,
        names: Sequence[str],
        ship: bool,
        ledger: Ledger,
        clocks: Sequence[StepClock],
        counters: Counts,
        traces: Traces,
        batches: BatchClock,
        aside: Executor | None = None,
        retrying: Retrying | None = None,
        portions: Portions | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._numbers = count() if numbers is None else numbers
        self._relief = Relief()
        self._ceding = _Ceding()
        self._trials: dict[int, _Trial] = {}  # under way, by their batches' numbers
        self._portions = portions
        self._retrying = retrying
        self._places = places
        self._names = names
        self._ship = ship
        self._ledger = ledger
        self._clocks = clocks
        self._counters = counters
        self._traces = traces
        self._batches = batches
        self._aside = aside
        self._turns: defaultdict[Lane, asyncio.Lock] = defaultdict(asyncio.Lock)  # fair: first come, first served
        self.work_seconds = self.setup_seconds = self.lost_seconds = 0.0

    async def carry(self, lane: Lane, batch: Batch) -> Answer:
        """Have a batch run, in stretches where it must be.

        Raises:
            StepError: the chain cannot be loaded in a worker, or its `setup` raised.
            WorkerLost: the lane has no worker any more.
        """
        trial = self._trials[batch.number] = _Trial(
            batch, lane, self._ceding, Inquest(batch.count, frozenset(batch.rejected))
        )
        try:
            # A lane's batches go to it in the order they were cut, for keys rely on that: also past one that is large.
            # When the lock is released this task goes on to the lane, before the next of those that wait has its turn.
            async with self._turns[lane]:
                if isinstance(batch.packed.data, Live) and not batch.place.codec.live:
                    await self._pack(batch)
                    for index in batch.rejected:
                        trial.inquest.strike(index)
            while (stretch := trial.inquest.stretch) is not None:
                await self._run(trial, *stretch)
        finally:
            del self._trials[batch.number]
            self._relief.over(batch.number)
            self._drop(trial)
        return self._answer(trial, batch.count)

    @property
    def may_cede(self) -> bool:
        """Whether a batch is under way of which another lane could have some, should it be held up."""
        return any(trial.may_give for trial in self._trials.values())

    def held_up(self, now: float) -> int | None:
        """The number of a batch that others should have some of, the largest one; None where there is none."""
        held = [trial.batch for trial in self._trials.values() if self._is_held_up(trial, now)]
        return max(held, key=attrgetter("count")).number if held else None

    def _is_held_up(self, trial: _Trial, now: float) -> bool:
        if (gives := trial.gives) is None:
            return False
        lane, packed = gives
        return self._relief.held_up(trial.batch.number, lane.waits_behind(packed), now)

    async def relieve(self, number: int) -> Batch | None:
        """What a lane that has nothing to do gets of a batch that is held up; None where it has gone on meanwhile.

        Its own trial goes on in its lane with what is left to it, also where it is answered while this waits.
        """
        if (trial := self._trials.get(number)) is None or (gives := trial.gives) is None:
            return None
        lane, packed = gives
        trial.asked = True
        if (at := await lane.cede(packed)) is None or trial.packed is not packed:
            return None
        batch = trial.batch
        self._ledger.split(batch.first, [at, batch.count - at])
        trial.inquest.cede(at)
        return batch.split(at, next(self._numbers))

    async def _run(self, trial: _Trial, start: int, stop: int) -> None:
        """Have a stretch run, or go on, until it is answered, a portion of it has come, or its worker is lost."""
        batch, packed = trial.batch, self._packed(trial, start, stop)
        if not packed.resumes:
            trial.origin = start
        # The slot's task waits here; the trial is its own. The lane may change its worker meanwhile.
        began = time.perf_counter()
        packed = packed._replace(positions=batch.positions(trial.origin))
        wall = 0.0
        if self._traces.wanted:
            wall = time.time()
            if self._traces.any and not trial.suspended:
                packed = packed._replace(traced=self._traces.among([batch.position(at) for at in range(start, stop)]))
        trial.packed = packed
        try:
            reply = await trial.lane.run(batch.place.chain, batch.number, packed, ship=self._ship)
        finally:
            trial.packed = None
        stop = min(stop, batch.count)  # some of it may have been ceded
        self._went_on(trial, 0 if isinstance(reply, Death) else reply.suspended)
        if wall and not isinstance(reply, Death):
            self._trace(trial, reply, stop - trial.origin, wall)
        if isinstance(reply, Death):
            self.lost_seconds += time.perf_counter() - began
            self._died(trial, reply, trial.origin, stop)
            return
        if reply.refusal is not None and reply.refusal.kind == PAUSED:
            await self._after(trial, int(reply.refusal.message))
            return
        large = reply.nbytes >= LARGE_BYTES and not trial.codec.live and reply.refusal is None
        self._answered(trial, reply, trial.origin, stop, await self._read(trial, reply) if large else None)
        if trial.suspended:
            await self._hand_on(trial, trial.origin + reply.opened, reply.gone)

    def _trace(self, trial: _Trial, reply: Reply, records: int, began: float) -> None:
        """A reply has come, to what was sent at this second since the epoch."""
        self._traces.carried(
            lambda index: trial.batch.position(trial.origin + index),
            self._names,
            reply.trace,
            records=records,
            lane=trial.lane.name,
            began=began,
            ended=time.time(),
        )

    def _went_on(self, trial: _Trial, suspended: int) -> None:
        """It has gone on in its worker, and is suspended there again, or not."""
        if trial.paused is not None:
            trial.paused.goes_on()
        trial.suspended = suspended
        if suspended:
            trial.paused = trial.paused or Paused(self, trial.batch.first)
            trial.paused.suspended(suspended)

    async def _after(self, trial: _Trial, token: int) -> None:
        """A batch has met another one of its chain that is suspended in its worker: that one goes first."""
        if (paused := known(token)) is not None:
            with trial.batch.resting():
                await paused.over(self, trial.batch.first)
            return
        trial.lane.drop(token)  # nobody asks it to go on
        await asyncio.sleep(0)

    def _packed(self, trial: _Trial, start: int, stop: int) -> Packed:
        """What the lane is given for a stretch."""
        batch = trial.batch
        packed = batch.packed if stop - start == batch.count else batch.packed.stretch(start, stop)
        if self._portions is None or batch.portion is None:
            return packed
        gone = trial.gone if start == trial.first else ()
        portions = self._portions._replace(gone=gone, resume=trial.suspended)
        return packed.resumed(portions) if trial.suspended else packed._replace(portions=portions)

    async def _hand_on(self, trial: _Trial, opened: int, gone: tuple[int, ...]) -> None:
        """A portion goes to the consumer, and the one before it must be taken: two of a batch are there at a time.

        Where they wait for others, it goes on as long as there is room for bytes: lanes do not wait for each other.

        Args:
            trial: whose.
            opened: index of the record that is under way.
            gone: the path to the first of its children that has not come.
        """
        batch, before, trial.taken = trial.batch, trial.taken, asyncio.Event()
        assert batch.portion is not None  # else none would have been asked for
        answer = self._answer(trial, opened, then=trial.taken.set)
        trial.first, trial.gone = opened, gone
        trial.pieces.clear()
        trial.inquest.reached(opened)
        waits = batch.portion(batch, answer)
        if before is not None and not (waits and self._ledger.room_bytes > 0):
            assert trial.paused is not None
            with batch.resting():
                await trial.paused.may_go_on(before)

    @staticmethod
    def _drop(trial: _Trial) -> None:
        """The batch does not go on in its worker."""
        if trial.suspended:
            trial.lane.drop(trial.suspended)
            trial.suspended = 0
        if trial.paused is not None:
            trial.paused.end()
            trial.paused = None

    async def _pack(self, batch: Batch) -> None:
        """Large records to bytes, beside the loop: the batch is this slot's, and its records are nobody's by now."""
        assert batch.records is not None
        started, loop = time.perf_counter(), asyncio.get_running_loop()
        call = partial(batch.place.codec.pack, batch.records, self._names[0], aside=True)
        packed, rejected = await loop.run_in_executor(self._aside, call)
        batch.framed_as(packed, time.perf_counter() - started)
        for index, failure in rejected.items():
            batch.reject(index, failure)
        batch.place.sizer.packed(packed.records, packed.nbytes, None)

    async def _read(self, trial: _Trial, reply: Reply) -> Unpacked | BaseException:
        """Large results to values, beside the loop; or what that raised."""
        started = time.perf_counter()
        call = partial(trial.codec.unpack, reply, self._names[-1], aside=True)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._aside, call)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return error
        finally:
            trial.reading += time.perf_counter() - started

    def _answered(
        self, trial: _Trial, reply: Reply, start: int, stop: int, read: Unpacked | BaseException | None
    ) -> None:
        """A stretch was run; or it could not be read as a whole, and is run again in frames. `read`: what has been."""
        framed = trial.batch.packed.framed
        if reply.refusal is not None and reply.refusal.kind == UNREADABLE and not framed:
            self._reframe(trial)
            return
        if reply.refusal is not None and reply.refusal.kind == BROKEN_CHAIN and trial.batch.place.beside:
            self._go_back(trial, reply.refusal.message)
            return
        if reply.refusal is not None and reply.refusal.kind == GONE:
            return  # with its worker: what has left is passed over
        if reply.refusal is not None:
            raise refused(reply.refusal)
        started = time.perf_counter()
        results = self._unpacked(trial.codec, reply, framed, read)
        unpacking = time.perf_counter() - started
        if results is None:
            self._ledger.re_execute(stop - start)
            self._drop(trial)
            self._reframe(trial)
            return
        if not reply.suspended:
            self._reached(trial, reply, start, stop)
        self._take(trial, start, reply, results)
        if reply.records == trial.batch.count:
            parent = trial.batch.packing + trial.reading + unpacking
            self._places.ran(trial.batch.place, trial.lane, reply, parent)
            self._batches.add(reply.records, trial.batch.packing, trial.reading + unpacking)

    @staticmethod
    def _reached(trial: _Trial, reply: Reply, start: int, stop: int) -> None:
        """A stretch was run; or up to where its worker was asked to cede the rest, where nobody has that after all."""
        if trial.asked and (reached := start + reply.first + reply.records) < stop:
            trial.inquest.reached(reached)
        else:
            trial.inquest.answered()

    def _unpacked(
        self, codec: Codec, reply: Reply, framed: bool, read: Unpacked | BaseException | None = None
    ) -> Unpacked | None:
        """The results of a reply; None where they cannot be read as a whole."""
        try:
            if isinstance(read, BaseException):
                raise read
            return read or codec.unpack(reply, self._names[-1])
        except BaseException as error:
            if framed:
                raise InternalError(f"framed results could not be read: {error!r}") from error
            return None

    def _take(self, trial: _Trial, start: int, reply: Reply, results: Unpacked, *, saved: bool = False) -> None:
        if not reply.records and not reply.suspended:
            return
        if not saved:  # what was saved of a worker's end has no times
            self._learn(trial.batch.place, reply)
        self.setup_seconds = max(self.setup_seconds, reply.setup)
        if reply.counters is not None:
            add(self._counters, reply.counters)
        gather(self._clocks, reply.steps, lambda index: trial.batch.position(start + index), reply.wall)
        trial.pieces.append((start, reply, results))

    def _learn(self, place: Place, reply: Reply) -> None:
        if reply.suspended or reply.first:  # of a portion nobody can say what a record costs
            self.work_seconds += 0.0 if place.beside else reply.wall
        elif place.beside:  # its wall time is shared with the loop
            place.sizer.replied(reply.records, reply.nbytes, reply.worked)
        else:
            self.work_seconds += reply.wall
            place.sizer.replied(reply.records, reply.nbytes, reply.work_seconds)
            if reply.hop is not None:
                place.sizer.hopped(reply.hop)

    def _reframe(self, trial: _Trial) -> None:
        """From one pickle to one each; records that have none are rejected now."""
        batch = trial.batch
        assert batch.records is not None  # what comes from disk comes in frames
        packed, rejected = trial.codec.pack_frames(batch.records, self._names[0])
        batch.framed_as(packed)
        for index in rejected:
            if trial.inquest.strike(index):
                batch.reject(index, rejected[index])

    def _go_back(self, trial: _Trial, why: str) -> None:
        """The chain cannot be set up beside the loop, as it was in its workers: there the batch is run after all."""
        trial.batch.moves_to(self._places.stay(why))
        if trial.batch.records is not None:
            self._reframe(trial)

    def _died(self, trial: _Trial, death: Death, start: int, stop: int) -> None:
        """A worker died over a stretch, or was ended over it."""
        if not death.begun:
            return
        self._ledger.re_execute(max(0, death.ran - max(0, trial.first - start)))
        if death.at is None and not trial.batch.packed.framed:
            self._reframe(trial)  # parts of one pickle are read as a whole: each would die of the same record
            if death.whole and stop - start > 1:
                return
        at = None if death.at is None else start + death.at
        end = None if death.end is None else start + death.end
        if at is not None and death.step is not None:
            trial.readable.update(range(at, end or at + 1))
        done = self._saved(trial, death, start)
        culprit = trial.inquest.died(at, end=end, foreign=death.foreign, late=death.kind == "timeout", done=done)
        if culprit is not None:
            trial.blamed[culprit] = self._failure(trial, death, culprit)
        elif at is not None:
            self._ledger.re_execute((end or at + 1) - at)

    def _saved(self, trial: _Trial, death: Death, start: int) -> int | None:
        """The index before which what records came to was saved; then it is taken. None where nothing was."""
        if death.done is None or death.at is None:
            return None
        count = death.done.first + death.done.records
        results = self._unpacked(trial.codec, death.done, trial.batch.packed.framed)
        if results is None:
            self._ledger.re_execute(count)
            return None
        self._take(trial, start, death.done, results, saved=True)
        return start + count

    def _failure(self, trial: _Trial, death: Death, index: int) -> AnyFailure:
        """The failure of a record that is to blame for a worker's death, with the record as it was fed."""
        failure = WireFailure(
            at=index,
            step=death.step or 0,
            kind=death.kind,
            error_type=DEATHS[death.kind],
            message=death.cause,
            traceback=death.stack,
            record=None,
        )
        ((_, made),) = trial.codec.failures(Reply(1, failures=(failure,)), self._names)
        made = replace(made, attempts=trial.inquest.tries(index), log=death.log)
        readable = death.step is not None or index in trial.readable
        return self._with_record(trial.batch, index, made, readable=readable)

    def _with_record(self, batch: Batch, index: int, failure: AnyFailure, *, readable: bool = True) -> AnyFailure:
        """A failure with its record as it was fed; `readable`: where that is there in bytes, they may be read here."""
        record = batch.as_fed(index, failure.record)
        if isinstance(record, Frozen):
            record = batch.place.codec.record(record.frame) if readable else record.frame
        return failure if record is failure.record else replace(failure, record=record)

    def _answer(self, trial: _Trial, end: int, then: Callable[[], object] | None = None) -> Answer:
        """All that came of the batch since the last portion, up to the record at `end`: its pieces in order, and the
        records that were in none.
        """
        batch, first = trial.batch, trial.first
        out = {index: self._with_record(batch, index, failure) for index, failure in batch.rejected.items()}
        out |= trial.blamed
        out = {index - first: failure for index, failure in out.items() if first <= index < end}
        added = _Added(list(out.items()), dict.fromkeys(out, 0))
        added.again.update(index - first for index, failure in trial.blamed.items() if self._worth(failure))
        for start, reply, results in sorted(trial.pieces, key=lambda piece: piece[0] + piece[1].first):
            self._add(trial, added, start, reply, results)
        added.failures.sort(key=itemgetter(0))
        return answer_of(
            batch.first + first,
            end - first,
            delivered=added.delivered,
            bypassed=len(added.bypass_at),
            filtered=added.filtered,
            results=added.results,
            failures=added.failures,
            spans=added.spans,
            grown=added.grown,
            bypass_at=added.bypass_at,
            again=added.again or NOBODY,
            nbytes=added.nbytes if then is None else max(added.nbytes, RESULT_BYTES * added.delivered),
            then=then,
        )

    def _add(self, trial: _Trial, added: _Added, start: int, reply: Reply, results: Unpacked) -> None:
        """Add one piece, whose first record was the one at `start`."""
        read, unread = results
        at_first = start - trial.first
        added.results += read
        for wire, (index, failure) in zip(reply.failures, trial.codec.failures(reply, self._names), strict=True):
            added.failures.append((at_first + index, self._with_record(trial.batch, start + index, failure)))
            if self._worth(failure, matched=wire.again):
                added.again.add(at_first + index)
        added.spans.update({at_first + index: span for index, span in reply.spans.items()})
        added.grown.update({at_first + index: more for index, more in reply.grown.items()})
        owners = reply.owners() if unread else []
        for at, failure in unread.items():
            index = owners[at]
            lost = self._with_record(trial.batch, start + index, replace(failure, record=None))
            added.failures.append((at_first + index, lost))
            added.spans[at_first + index] = added.spans.get(at_first + index, 1) - 1
        read_at = [at for at in reply.bypass_at if at not in unread]
        added.bypass_at += [added.delivered + at - sum(lost < at for lost in unread) for at in read_at]
        added.delivered += reply.delivered - len(unread)
        added.filtered += reply.filtered
        added.nbytes += reply.nbytes

    def _worth(self, failure: AnyFailure, *, matched: bool = False) -> bool:
        return self._retrying is not None and self._retrying.worth(failure.kind, matched=matched)


def refused(refusal: Refusal) -> Exception:
    """What a worker's refusal comes to: a chain it cannot load is the user's, all else is ours."""
    known = refusal.kind == BROKEN_CHAIN
    error = StepError(refusal.message) if known else InternalError(f"{refusal.kind}: {refusal.message}")
    error.__cause__ = made_again(refusal.raised)
    if refusal.traceback:
        error.add_note(f"In the worker:\n{refusal.traceback}")
    return error
