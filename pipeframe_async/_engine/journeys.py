"""Records that go their own way: through several runs of steps, tied to a lane by their key, or tried again.

Comes in: what waits in the backlog, and what parts of records came to in a stage. Goes out: parts to the next stage,
and for each record its answer to collect. What is decided about a record is in `_rules/journey.py`.

A record has its permit from intake on, and its entry in the ledger from the moment it is admitted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

from pipeframe_async._engine.backlog import Backlog
from pipeframe_async._engine.batch import Answer
from pipeframe_async._engine.books import Books
from pipeframe_async._rules.affinity import Affinity
from pipeframe_async._rules.journey import Came, Journey, Part
from pipeframe_async._rules.ordering import AsFedByKey
from pipeframe_async._rules.retry import Retrying
from pipeframe_async.contracts import Codec
from pipeframe_async.faults import failure_of
from pipeframe_async.model import AnyFailure, Failure
from pipeframe_async.wire import Reply

MOST_WOKEN = 100
"""Records that go on at once after they have waited for their next attempt. More shows as lag of the loop."""
AS_IT_IS = frozenset({str, bytes, int, float, bool, complex, type(None)})
"""Types whose values no step can change."""


NO_FAILURES: list[tuple[int, AnyFailure]] = []
NOTHING: dict[int, int] = {}
NOWHERE: list[int] = []
NOBODY: set[int] = set()
"""What most answers of single records have none of: thousands of empty ones would keep the garbage collector busy."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A value as it was, in bytes: steps on the loop get the program's own objects, and may change them."""

    frame: bytes


class Stage(Protocol):
    """One run of steps, as parts come to it."""

    on_the_loop: bool
    """Its steps get the very objects that were fed."""

    def put(self, part: Part) -> None:
        """A part is to go through it."""

    def clear(self, journey: Journey | None = None) -> list[Part]:
        """Remove the parts that wait, all or those of one journey; of that, cancel what is at work on the loop."""


class Tie:
    """Order by key: which lane a record goes to, and when its answer may leave.

    Args:
        key_of: the pipeline's `order`.
        lanes: how many there are.
    """

    def __init__(self, key_of: Callable[[Any], Hashable], lanes: int) -> None:
        self._key_of = key_of
        self._affinity = Affinity(lanes)
        self.lines: AsFedByKey[Answer] = AsFedByKey()

    def enter(self, journey: Journey, failure: AnyFailure | None) -> AnyFailure | None:
        """A record begins its journey, or has failed already; returns its failure, also where it has no key."""
        journey.key = object()  # one of its own: nobody waits for it
        if failure is None:
            try:
                key = self._key_of(journey.record)
                hash(key)
                journey.key = key
            except Exception as error:
                failure = failed(error, "order", journey.record)
        journey.lane = self._affinity.enter(journey.key)
        self.lines.expect(journey.position, journey.key)
        return failure

    def leave(self, journey: Journey) -> None:
        """It has its outcome."""
        self._affinity.leave(journey.key)


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

    Attributes:
        stages: the runs of steps, in order.
        alive: records that are under way.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        books: Books,
        collect: Callable[[Answer], None],
        retrying: Retrying | None,
        tie: Tie | None,
        keep: bool,
        codec: Codec,
        step: str,
    ) -> None:
        self._backlog = backlog
        self._books = books
        self._collect = collect
        self._retrying = retrying
        self._tie = tie
        self._keep = keep
        self._codec = codec
        self._step = step
        self.stages: Sequence[Stage] = ()
        self._position = 0  # in the feed, of the next record to be admitted
        self._asleep: set[Part] = set()
        self._due: list[tuple[float, int, Part, int]] = []  # when each wakes: a heap, with some who no longer sleep
        self._sleepers = count()
        self._alarm: asyncio.Handle | None = None
        self._under_way: dict[int, Journey] = {}
        self._withdrawn: set[int] = set()  # positions of records that are not to begin
        self._dropped = False

    @property
    def alive(self) -> int:
        """Records under way."""
        return len(self._under_way)

    @property
    def begun(self) -> int:
        """Records that have begun."""
        return self._position

    @property
    def asleep(self) -> bool:
        """Whether a record waits for its next attempt."""
        return bool(self._asleep)

    def admit(self, wanted: Callable[[], int]) -> None:
        """Let records that wait begin, for as long as any are `wanted`: some come to their end at once."""
        backlog = self._backlog
        while (most := wanted()) > 0 and backlog.waiting and not backlog.held:
            records, failures = (backlog.take(most), {}) if backlog.records else self._from_disk(most)
            if not records:
                return
            for index, record in enumerate(records):
                self._begin(record, failures.get(index))

    def _from_disk(self, most: int) -> tuple[list[Any], dict[int, AnyFailure]]:
        ledger, spill = self._books.ledger, self._backlog.spill
        packed, failures = spill.take(min(most, ledger.room), max(ledger.room_bytes, 0))
        if not packed.records and not ledger.in_flight_bytes and ledger.room:
            packed, failures = spill.take(1, ledger.capacity_bytes)
        ledger.unspill(packed.records)
        read, unread = self._codec.unpack(Reply(packed.records, results=packed.data), self._step)
        failures = {**unread, **failures}
        left = iter(read)
        records = [failures[i].record if i in failures else next(left) for i in range(packed.records)]
        return records, failures

    def _begin(self, record: Any, failure: AnyFailure | None) -> None:
        position, self._position = self._position, self._position + 1
        self._books.ledger.open(position, 1, 0)
        journey = self._under_way[position] = Journey(position, record)
        part = journey.start()
        if self._tie is not None:
            failure = self._tie.enter(journey, failure)
        if position in self._withdrawn:
            self._withdrawn.discard(position)
            self.give_up(part)
        elif failure is not None:
            self.came(part, Came(failures=(failure,)), (0, 0), (0, 0))
        else:
            if self.stages[0].on_the_loop:
                journey.record = self.freeze(record)
            self.stages[0].put(part)

    def adopt(self, position: int, record: Any, came: Came) -> None:
        """A record that went with a batch, and is open in the ledger by itself now, goes on alone."""
        journey = self._under_way[position] = Journey(position, record)
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
        if came.failures:
            came = replace(came, failures=tuple(self._told(failure, part, at) for failure in came.failures))
        last = to[0] == len(self.stages)
        for next_part in journey.arrived(part, came, last=last, keep=self._keep):
            next_part.step = to[1]
            if self._dropped or journey.given_up:
                journey.give_up(next_part)
            else:
                self.stages[to[0]].put(next_part)
        if not journey.parts:
            self._finish(journey)

    def _again(self, part: Part, at: tuple[int, int]) -> bool:
        """Whether the part has another attempt: then it sleeps now; or is given up, where nothing is begun any more."""
        if self._retrying is None or (delay := self._retrying.delay(part.attempts + 1)) is None:
            return False
        if self._dropped or part.journey.given_up:
            self.give_up(part)
            return True
        part.attempts += 1
        self._books.ledger.retried += 1
        self._asleep.add(part)
        heappush(self._due, (asyncio.get_running_loop().time() + delay, next(self._sleepers), part, at[0]))
        if self._due[0][2] is part:
            self._set_alarm()
        return True

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(self._due[0][0], self._wake) if self._due else None

    def _wake(self) -> None:
        """Those whose time has come go on; not too many in one turn of the loop."""
        now = asyncio.get_running_loop().time()
        for _ in range(MOST_WOKEN):
            if not self._due or self._due[0][0] > now:
                break
            _, _, part, stage = heappop(self._due)
            if part in self._asleep:
                self._asleep.discard(part)
                self.stages[stage].put(part)
        self._set_alarm()

    def _told(self, failure: AnyFailure, part: Part, at: tuple[int, int]) -> AnyFailure:
        """A failure with its record as it was fed, and all its attempts."""
        by_lane = at == (0, 0) and not self.stages[0].on_the_loop  # then it has it; of one that cannot be read, bytes
        record = failure.record if by_lane else self.thaw(part.journey.record)
        return replace(failure, record=record, attempts=failure.attempts + part.attempts)

    def _finish(self, journey: Journey) -> None:
        del self._under_way[journey.position]
        if self._tie is not None:
            self._tie.leave(journey)
        results, failures = journey.results, journey.failures
        self._collect(
            Answer(
                journey.position,
                1,
                journey.outcome,
                results,
                [(0, failure) for failure in failures] if failures else NO_FAILURES,
                {0: len(results)} if len(results) != 1 else NOTHING,
                NOTHING,
                NOWHERE,
                NOBODY,
            )
        )
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
            if position >= self._position:
                self._withdrawn.add(position)
                self._backlog.bell.ring()  # an idle lane may let it begin, and end
            return
        journey.given_up = True
        self._give_up_all(journey)

    def drop(self) -> None:
        """What is not at work is given up; what is comes to its end in the stage it is in."""
        self._dropped = True
        self._give_up_all()

    def _give_up_all(self, journey: Journey | None = None) -> None:
        asleep = [part for part in self._asleep if journey is None or part.journey is journey]
        self._asleep.difference_update(asleep)
        for part in [*asleep, *(part for stage in self.stages for part in stage.clear(journey))]:
            self.give_up(part)

    def close(self) -> None:
        """Wake nobody any more."""
        self._due.clear()
        self._set_alarm()

    def freeze(self, value: Any) -> Any:
        """A value kept from changes, where it may be changed and can be kept."""
        if type(value) in AS_IT_IS or isinstance(value, Frozen):
            return value
        packed, rejected = self._codec.pack_frames([value], self._step)
        if rejected or not isinstance(packed.data, tuple):
            return value
        _, unread = self._codec.unpack(Reply(1, results=packed.data), self._step)
        return value if unread else Frozen(packed.data[0])

    def thaw(self, value: Any) -> Any:
        """It, as it was."""
        return self._codec.record(value.frame) if isinstance(value, Frozen) else value


def failed(error: BaseException, step: str, record: Any, *, timed_out: bool = False) -> AnyFailure:
    """The failure of a record whose step was run, or whose key was asked for, in this process."""
    plain = failure_of(0, 0, error, "timeout" if timed_out else "raised")
    return Failure(record, step, plain.kind, plain.error_type, plain.message, plain.traceback)
