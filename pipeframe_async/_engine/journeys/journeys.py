"""Records that go alone: through several stages, tied to a lane by their key, tried again, or called.

Comes in: what waits in the backlog, what comes back of a batch, and what parts of records came to in a stage. Goes out:
parts to the next stage, and for each record its answer to collect; where children of it go ahead, one for each portion
of them before. What is decided about a record is in `_rules/journey.py`.

A record has its permit from intake on, and its entry in the ledger from the moment it begins here, or went with a
batch. All of it runs on the loop, in the tasks of those who call; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import replace
from typing import Any, Protocol

from pipeframe_async._engine.feeding.backlog import Backlog, Lot
from pipeframe_async._engine.journeys.frozen import Frozen, freeze, thaw
from pipeframe_async._engine.journeys.sleepers import Sleepers
from pipeframe_async._engine.journeys.tie import Tie
from pipeframe_async._engine.settling.answer import NO_COUNTS, Answer, answer_of, given_up
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._rules.journey import Came, Journey, Part, Torn
from pipeframe_async._rules.retry import Retrying
from pipeframe_async.contracts import Codec
from pipeframe_async.failures import failure_of
from pipeframe_async.model import AnyFailure, Child, Failure
from pipeframe_async.wire import Reply


class Stage(Protocol):
    """One stage, as parts come to it."""

    on_the_loop: bool
    """Its steps get the very objects that were fed."""

    def put(self, part: Part) -> None:
        """A part is to go through it."""

    def clear(self) -> list[Part]:
        """Remove the parts that wait."""


class Callers(Protocol):
    """Who wants the records, each its own. Records are told by their feed positions."""

    def context(self, position: int) -> Context | None:
        """The context variables of whoever wants this one."""

    @property
    def overdue(self) -> bool:
        """Whether any may be late."""

    def late(self, position: int) -> bool:
        """Whether nobody wants it any more, for it has not begun in time; then it has been withdrawn by now."""

    def begun(self, position: int) -> None:
        """Its first step is to run; perhaps once more."""


class Journeys:
    """All journeys of one run.

    Args:
        backlog: where records wait that have not begun theirs.
        books: permits.
        collect: takes the answer of each.
        retrying: the pipeline's, or None.
        tie: where order is kept by key.
        keep: results are wanted.
        codec: reads records that were on disk, and keeps what steps may change.
        step: the first step's name.
        callers: who want the records; None where all are the run's.
        encode: what results that pass over steps are encoded with; those of the last steps come so.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        books: Books,
        collect: Callable[[Answer], object],
        retrying: Retrying | None,
        tie: Tie | None,
        keep: bool,
        codec: Codec,
        step: str,
        callers: Callers | None = None,
        encode: Callable[[Any], Any] | None = None,
    ) -> None:
        self._backlog = backlog
        self._books = books
        self._collect = collect
        self._retrying = retrying
        self._tie = tie
        self._keep = keep
        self._codec = codec
        self._step = step
        self._callers = callers
        self._encode = encode
        self._stages: Sequence[Stage] = ()
        self._sleepers = Sleepers(lambda part, stage: self._stages[stage].put(part))
        self._under_way: dict[int, Journey] = {}
        self._torn: dict[int, Torn] = {}  # by position, records of which children have gone ahead
        self._away = 0  # records in batches, of which some may go on alone
        self._withdrawn: set[int] = set()  # positions of records that are not to begin
        self._aborted = False

    def join(self, stages: Sequence[Stage]) -> None:
        """These are the stages, in order."""
        self._stages = stages

    @property
    def alive(self) -> int:
        """Records under way, or in batches that may bring some."""
        return len(self._under_way) + self._away

    @property
    def slept(self) -> float:
        """Seconds in which records waited for their next attempt."""
        return self._sleepers.seconds

    @property
    def asleep(self) -> bool:
        """Whether a record waits for its next attempt."""
        return len(self._sleepers) > 0

    def admit(self, wanted: Callable[[], int]) -> None:
        """Let records that wait begin, for as long as any are `wanted`: some come to their end at once."""
        while (most := wanted()) > 0 and self._backlog.takable:
            if (lot := self._backlog.take(most)) is None:
                return
            records, failures = (lot.values, lot.rejected) if lot.values is not None else self._read(lot)
            self._backlog.left(lot.first, len(records))
            for index, record in enumerate(records):
                if self._aborted:  # one that failed as it began was one too many: those in hand are given up too
                    self._books.given_up(lot.first + index, lot.first + len(records))
                    return
                there = index not in failures or index in lot.rejected  # else there are only bytes nobody can read
                self._begin(lot.first + index, record, failures.get(index), asked=there)

    def _read(self, lot: Lot) -> tuple[list[Any], dict[int, AnyFailure]]:
        """Records from disk, for a key or for async steps; and by index the failures of those that cannot be read."""
        assert lot.packed is not None
        read, unread = self._codec.unpack(Reply(lot.packed.records, results=lot.packed.data), self._step)
        failures = {**unread, **lot.rejected}
        left = iter(read)
        return [failures[i].record if i in unread else next(left) for i in range(lot.packed.records)], failures

    def _begin(self, position: int, record: Any, failure: AnyFailure | None, *, asked: bool) -> None:
        """A record goes on its way; it has failed already where it has no bytes, or its key cannot be `asked` for."""
        self._books.ledger.open(position, 1, 0)
        context = None if self._callers is None else self._callers.context(position)
        journey = self._under_way[position] = Journey(position, record, context=context)
        part = journey.start()
        if self._tie is not None:
            error = self._tie.enter(journey, asked=asked)
            failure = failure if error is None else failed(error, "order", record)
        if position in self._withdrawn:
            self._withdrawn.discard(position)
            self.give_up(part)
        elif failure is not None:
            self.came(part, Came(failures=(failure,)), (0, 0), (0, 0))
        else:
            if self._stages[0].on_the_loop:
                journey.keep(self.freeze(record))
            self._stages[0].put(part)

    def begin(self, parts: Sequence[Part]) -> None:
        """These are to go through the first step now."""
        if self._callers is not None:
            for part in parts:
                self._callers.begun(part.journey.position)

    def sorted_out(self, parts: Iterable[Part]) -> bool:
        """Whether any of these, which wait for the first step, came too late for it; they are given up by now."""
        if (callers := self._callers) is None or not callers.overdue:
            return False
        return sum(callers.late(part.journey.position) for part in [*parts]) > 0

    def sent(self, records: int) -> None:
        """So many records went away in a batch, and may come back to go on alone."""
        self._away += records

    def came_back(self, records: int) -> None:
        """They did, or are on their way to the consumer."""
        self._away -= records
        self._tell_if_last()

    def adopt(self, position: int, record: Any, came: Came, then: Callable[[], object] | None = None) -> None:
        """A record that went with a batch, and is open in the ledger by itself now, goes on alone.

        Args:
            position: in the feed.
            record: as it was fed; `Frozen` where it is there in bytes only, to be read when it is wanted.
            came: what it came to in the first stage; but for what has gone ahead.
            then: called when it is final, or is only waited for by those before it.
        """
        journey = self._under_way[position] = Journey(position, record, then=then)
        if (torn := self._torn.get(position)) is not None:
            torn.add(journey)
        self.came(journey.start(), came, (0, 0), (1, 0))

    def go_ahead(self, position: int, record: Any, came: Came, nbytes: int, then: Callable[[], object]) -> None:
        """Children of a record that is in the first stage go on before it has come to its end; as `adopt`.

        Args:
            position: the record's, in the feed.
            record: as it was fed.
            came: what has come of it.
            nbytes: that this holds, by the ledger.
            then: called when it is final, or is only waited for by those before it.
        """
        journey = Journey(position, record, portion=True, nbytes=nbytes, then=then)
        self._torn.setdefault(position, Torn()).add(journey)
        self.came(journey.start(), came, (0, 0), (1, 0))

    def came(self, part: Part, came: Came, at: tuple[int, int], to: tuple[int, int]) -> None:
        """A part has come through steps.

        Args:
            part: which one.
            came: what it came to.
            at: the stage it was in, and the step there that it began with.
            to: the stage, and the step there, that its results go on to.
        """
        if came.again and self._again(part, at):
            return
        journey = part.journey
        if self._encode is not None and to[0] < len(self._stages):
            came = _encoded(came, self._encode)
        if came.failures:
            came = replace(came, failures=tuple(self._told(failure, part) for failure in came.failures))
        last = to[0] == len(self._stages)
        parts = journey.arrived(part, came, last=last, keep=self._keep, step=to[1])
        for going in parts:
            if self._aborted or journey.given_up:
                self.give_up(going)
            else:
                self._stages[to[0]].put(going)
        if not parts and not journey.parts:
            self._finish(journey)  # else the last of them does that, perhaps before `put` has returned

    def _again(self, part: Part, at: tuple[int, int]) -> bool:
        """Whether the part has another attempt: then it sleeps now; or is given up, where nothing is begun any more."""
        if self._retrying is None or (delay := self._retrying.delay(part.attempts + 1)) is None:
            return False
        if self._aborted or part.journey.given_up:
            self.give_up(part)
            return True
        part.tried()
        self._books.ledger.retry()
        self._sleepers.put(part, at[0], delay)
        return True

    def _told(self, failure: AnyFailure, part: Part) -> AnyFailure:
        """A failure with its record as it was fed, which those of steps on the loop lack, and all its attempts."""
        record = self.thaw(part.journey.record) if failure.record is None else failure.record
        child = part.child
        if failure.child is not None and child is not None:
            child = Child((*child.path, *failure.child.path), failure.child.value)
        return replace(failure, record=record, attempts=failure.attempts + part.attempts, child=child or failure.child)

    def _finish(self, journey: Journey) -> None:
        if journey.torn is None:
            self._leave(journey)
            return
        for leaving in journey.torn.leaving():
            self._leave(leaving)

    def _leave(self, journey: Journey) -> None:
        if not journey.portion:
            del self._under_way[journey.position]
            self._torn.pop(journey.position, None)
            if self._tie is not None:
                self._tie.leave(journey)
        answer = _answer(journey)
        if not self._collect(answer) and journey.then is not None and self._books.ledger.room_bytes > 0:
            answer.then = _told_before  # it waits for others, and its lane does not while there is room
            journey.then()
        self._tell_if_last()

    def _tell_if_last(self) -> None:
        if not self.alive:
            self._backlog.bell.ring()  # who waits for more may go home

    def give_up(self, part: Part) -> None:
        """A part is not worked on any further."""
        part.journey.give_up(part)
        if not part.journey.parts:
            self._finish(part.journey)

    def withdraw(self, position: int) -> None:
        """Nobody wants the record at this feed position any more: it gives up its place as soon as it can."""
        if (journey := self._under_way.get(position)) is None:
            if position >= self._backlog.position:
                self._withdrawn.add(position)
                self._backlog.bell.ring()  # an idle lane may let it begin, and end
            return
        journey.withdraw()
        for part in [*journey.parts]:
            if part.holder is not None and part.holder.withdraw(part):
                self.give_up(part)
        self._backlog.bell.ring()  # lanes may have been kept for it

    def abort(self) -> None:
        """What is not at work is given up; what is comes to its end in the stage it is in."""
        self._aborted = True
        for part in [*self._sleepers.clear(), *(part for stage in self._stages for part in stage.clear())]:
            self.give_up(part)

    def close(self) -> None:
        """Wake nobody any more."""
        self._sleepers.close()

    def freeze(self, value: Any) -> Any:
        """A value kept from changes; see `frozen.freeze`."""
        return freeze(value, self._codec, self._step)

    def thaw(self, value: Any) -> Any:
        """It, as it was."""
        return thaw(value, self._codec) if isinstance(value, Frozen) else value


def _answer(journey: Journey) -> Answer:
    """What came of a record, once no part of it is under way."""
    if journey.given_up and not journey.portion:
        return given_up(journey.position, journey.then)
    results, came = journey.results, journey.outcome
    return answer_of(
        journey.position,
        0 if journey.portion else 1,
        delivered=came.delivered,
        bypassed=came.bypassed,
        filtered=came.filtered,
        results=results,
        failures=[(0, failure) for failure in journey.failures] if journey.failures else (),
        spans={0: len(results)} if len(results) != 1 else NO_COUNTS,
        grown={0: came.emitted} if came.emitted else NO_COUNTS,
        nbytes=journey.nbytes,
        then=journey.then,
    )


def _encoded(came: Came, encode: Callable[[Any], Any]) -> Came:
    """With what passes over the steps that follow encoded as they would do it."""
    results, failures = list[tuple[Any, bool]](), [*came.failures]
    for value, bypasses in came.results:
        try:
            results.append((encode(value) if bypasses else value, bypasses))
        except Exception as error:
            failures.append(failed(error, "encode", None))
    return replace(came, results=tuple(results), failures=tuple(failures))


def _told_before() -> None:
    """In place of what has been called."""


def failed(
    error: BaseException, step: str, record: Any, *, timed_out: bool = False, caller: str = __file__
) -> AnyFailure:
    """The failure of a record whose step was run, or whose key was asked for, in this process.

    Args:
        error: what was raised.
        step: the name of the step.
        record: as it was fed; None for whoever takes the failure to fill in.
        timed_out: it ran out of time.
        caller: the file of ours that has called the user's code.
    """
    plain = failure_of(0, 0, error, "timeout" if timed_out else "raised", caller=caller)
    return Failure(record, step, plain.kind, plain.error_type, plain.message, plain.traceback, _raised=plain.raised)
