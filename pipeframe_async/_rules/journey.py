"""A fed record on its way through several stages, until everything that came of it has its outcome.

Comes in: what each part of it came to in a stage. Goes out: the parts that go on, and at the end its results
in order and its books. It carries its key and the number of the lane that this is tied to, for those who need them, and
looks at neither; it knows nothing of permits or time.

A part is the record itself, or after a fan-out each child. Children keep their order among the results: each has a
cell of its own in the cell of what it came from.

Of a long fan-out children go on before their record has come to its end. Each portion of them is a journey by itself,
and so is the rest; they leave in order, and the record ends with the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.model import AnyFailure, Child


class Holder(Protocol):
    """Where a part is: it waits there, or is at work."""

    def withdraw(self, part: Part) -> bool:
        """Nobody wants the part any more. True where it has waited, and is removed; what is at work comes back."""


class Cell(list[Any]):
    """Results, and cells of children, in order. A type of its own, for a result may be a list."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Came:
    """What one part came to in one stage, or in all steps at once.

    Attributes:
        results: each with whether it bypasses the steps that follow.
        filtered: children, or the part itself, that end here.
        failures: of the part, or of its children.
        again: whether one of the failures is worth another attempt.
    """

    results: tuple[tuple[Any, bool], ...] = ()
    filtered: int = 0
    failures: tuple[AnyFailure, ...] = ()
    again: bool = False

    @property
    def outcomes(self) -> int:
        """How many there are; a part has one, or has grown."""
        return len(self.results) + self.filtered + len(self.failures)


@dataclass(slots=True, eq=False, repr=False)
class Journey:
    """One fed record under way.

    Attributes:
        position: in the feed.
        record: as it was fed, for its failures.
        lane: the number of the one lane it goes to; None for any.
        key: it is ordered by, if it is.
        given_up: it is not worked on any further, and has no results.
        parts: that are under way.
        context: the context variables of whoever wants it; None where it is the run's.
        torn: its record, where children of that go on before its end.
        portion: it is such children; their record has its outcome later.
        nbytes: what a portion holds.
        then: called when it is final, or is only waited for by those before it.
    """

    position: int
    record: Any
    lane: int | None = None
    key: Hashable = None
    given_up: bool = False
    parts: dict[Part, None] = field(default_factory=dict)
    context: Context | None = None
    torn: Torn | None = None
    portion: bool = False
    nbytes: int = 0
    then: Callable[[], object] | None = None
    _root: Cell = field(default_factory=Cell)
    _failures: tuple[AnyFailure, ...] = ()
    _delivered: int = 0
    _bypassed: int = 0
    _filtered: int = 0
    _emitted: int = 0

    def __repr__(self) -> str:
        return f"<journey of record {self.position}, {len(self.parts)} parts>"  # no record: it may land in a log

    def start(self) -> Part:
        """The record itself, on its way to the first stage."""
        part = Part(self, self._root, self.record)
        self.parts[part] = None
        return part

    def tie(self, key: Hashable, lane: int) -> None:
        """Its key, and the number of the one lane it goes to."""
        self.key, self.lane = key, lane

    def keep(self, record: Any) -> None:
        """This is how it was fed, for its failures: its steps may change the record itself."""
        self.record = record

    def withdraw(self) -> None:
        """Nobody wants it any more: it is given up, whatever its parts still come to."""
        self.given_up = True

    def arrived(self, part: Part, came: Came, *, last: bool, keep: bool, step: int = 0) -> list[Part]:
        """A part has come through a stage.

        Args:
            part: which one; it is no more.
            came: what it came to.
            last: no steps follow.
            keep: results are wanted.
            step: that the parts go on with, where that is one of a run of async steps.

        Returns:
            The parts that go on.
        """
        del self.parts[part]
        self._emitted += came.outcomes - 1
        self._filtered += came.filtered
        self._failures += came.failures
        going: list[Part] = []
        first, many = 0, came.outcomes > 1
        if self.torn is not None and part.child is None:
            first, many = self.torn.number(len(came.results)), True
        for number, (value, bypasses) in enumerate(came.results, first):
            if last or bypasses:
                self._delivered += 1
                self._bypassed += bypasses
                if keep:
                    part.cell.append(value)
                continue
            cell = part.cell
            if len(came.results) > 1:
                part.cell.append(cell := Cell())
            child = part.child
            if many:
                child = Child((*(() if child is None else child.path), number), value)
            going.append(Part(self, cell, value, step, child=child))
        self.parts.update(dict.fromkeys(going))
        return going

    def give_up(self, part: Part) -> None:
        """A part is not worked on any further, and with it the record as a whole."""
        del self.parts[part]
        self.given_up = True

    @property
    def outcome(self) -> Outcome:
        """Its books, once no part is under way."""
        if self.given_up:
            return Outcome() if self.portion else Outcome(aborted=1)
        emitted = self._emitted + self.portion
        return Outcome(self._delivered, self._bypassed, self._filtered, len(self._failures), 0, emitted)

    @property
    def results(self) -> list[Any]:
        """In order; none where it was given up."""
        if self.given_up:
            return []
        return list(_flat(self._root))  # never the cell itself: as a result of a call it may be fed again

    @property
    def failures(self) -> tuple[AnyFailure, ...]:
        """Of all its parts."""
        return () if self.given_up else self._failures


class Torn:
    """A record whose children go on before its end: the journeys of those, in order, and of what is left."""

    def __init__(self) -> None:
        self._journeys: deque[Journey] = deque()
        self._born = 0
        self._given_up = self._leaving = False

    def add(self, journey: Journey) -> None:
        """It begins; of a record that is given up with no hope."""
        journey.torn, journey.given_up = self, self._given_up
        self._journeys.append(journey)

    def number(self, children: int) -> int:
        """So many more of its children go on; the number of the first."""
        first, self._born = self._born, self._born + children
        return first

    def leaving(self) -> Iterator[Journey]:
        """Those that may leave now: of which no part is under way, nor of any before. One that is given up has those
        behind it given up too.

        Whoever lets one leave may so end others: these follow it, and are his who has begun.
        """
        if self._leaving:
            return
        self._leaving = True
        while self._journeys and not self._journeys[0].parts:
            journey = self._journeys.popleft()
            journey.given_up = self._given_up = self._given_up or journey.given_up
            yield journey
        self._leaving = False


@dataclass(slots=True, eq=False, repr=False)
class Part:
    """A record, or a child of one, that waits for a stage or is in it.

    Attributes:
        journey: whose part.
        cell: where its results go.
        value: what the steps get.
        step: of a run of async steps, the one that is next.
        attempts: how often it was tried in this stage, and failed.
        child: which one it is, where a fan-out made it.
        holder: who has it now.
    """

    journey: Journey
    cell: Cell
    value: Any
    step: int = 0
    attempts: int = 0
    child: Child | None = None
    holder: Holder | None = None

    def goes_to(self, holder: Holder) -> None:
        """It is there now."""
        self.holder = holder

    def becomes(self, value: Any) -> None:
        """This is what its steps get from now on."""
        self.value = value

    def tried(self) -> None:
        """It has failed once more in this stage, and has another attempt."""
        self.attempts += 1

    def __repr__(self) -> str:
        return f"<part of record {self.journey.position}, step {self.step}, attempts {self.attempts}>"


def _flat(cell: Cell) -> Iterator[Any]:
    for value in cell:
        if type(value) is Cell:
            yield from _flat(value)
        else:
            yield value
