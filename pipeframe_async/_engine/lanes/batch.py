"""A batch on its way out, and the line it was cut of: what the parts of this room hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pipeframe_async._engine.journeys.frozen import Frozen
from pipeframe_async._engine.lanes.places import Place
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.journey import Part
from pipeframe_async.model import AnyFailure
from pipeframe_async.wire import Packed, Positions

Portion = Callable[["Batch", Answer], bool]
"""Takes an answer of records of a batch of which others are not at their end; says whether it waits for those of other
batches."""


@dataclass(slots=True)
class Batch:
    """Records bound for a lane.

    Attributes:
        number: counts batches.
        line: it was cut of, and takes what came of it.
        first: feed position of its first record, where they are consecutive; -1 where it is made of parts.
        packed: the records as bytes, or live; a record's index is its position there.
        records: the live objects, kept until the reply in case their bytes cannot be read; None for
            records that came from disk.
        rejected: by index, the records that have no bytes.
        place: where it is run, all of it.
        packing: seconds of this process that its bytes took.
        parts: of journeys, whose values these records are.
        portion: hands on what it has come to before its end, where that may be.
        rests: is told when it waits for others in its worker, which is free meanwhile, and when it goes on.
    """

    number: int
    line: Line
    first: int
    packed: Packed
    records: Sequence[Any] | None
    rejected: dict[int, AnyFailure]
    place: Place
    packing: float = 0.0
    parts: Sequence[Part] = ()
    portion: Portion | None = None
    rests: Callable[[bool], object] | None = None
    _abandon: Callable[[], object] | None = None
    _withdrawn: int = 0

    def watch(self, abandon: Callable[[], object]) -> None:
        """It is under way; `abandon` is called when nobody wants any of its records any more."""
        self._abandon = abandon
        for part in self.parts:
            part.goes_to(self)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """It waits for others inside of this."""
        if self.rests is not None:
            self.rests(True)
        try:
            yield
        finally:
            if self.rests is not None:
                self.rests(False)

    def withdraw(self, part: Part) -> bool:
        """One of its parts is not wanted any more; it comes back with the others, or is given up with all of them."""
        self._withdrawn += 1
        if self._withdrawn == len(self.parts) and self._abandon is not None:
            self._abandon()
        return False

    @property
    def count(self) -> int:
        """Records this stands for."""
        return self.packed.records

    def position(self, index: int) -> int:
        """In the feed, of the record at this index, or that it is part of."""
        return self.parts[index].journey.position if self.parts else self.first + index

    def positions(self, origin: int) -> Positions:
        """Those in the feed, by their index from the record at `origin` on."""
        if self.parts:
            return _OfParts(self.parts, origin)
        return range(self.first + origin, self.first + self.count)

    def split(self, at: int, number: int) -> Batch:
        """From the record at this index on its records are those of another batch, which is returned.

        Args:
            at: their first.
            number: of that batch.
        """
        assert not self.parts
        packed, records = self.packed, self.records
        self.packed = packed.stretch(0, at)
        self.records = None if records is None else records[:at]
        return replace(
            self,
            number=number,
            first=self.first + at,
            packed=packed.stretch(at, packed.records),
            records=None if records is None else records[at:],
            rejected={},
            packing=0.0,
            rests=None,
            _abandon=None,
        )

    def framed_as(self, packed: Packed, seconds: float = 0.0) -> None:
        """Its records travel so from now on; packing them took so many seconds."""
        self.packed = packed
        self.packing += seconds

    def reject(self, index: int, failure: AnyFailure) -> None:
        """This one has no bytes."""
        self.rejected[index] = failure

    def moves_to(self, place: Place) -> None:
        """It is run there instead."""
        self.place = place

    def as_fed(self, index: int, sent: Any = None) -> Any:
        """What was fed that the record at this index is, or is part of; `Frozen` where it is there in bytes only.

        Args:
            index: the record's.
            sent: what its worker has sent back of it; None where nothing, bytes where it could not be read there.
        """
        if self.parts:
            return self.parts[index].journey.record
        if sent is not None and not (isinstance(sent, bytes) and self.records is not None):
            return sent
        if self.records is not None:
            return self.records[index]
        assert isinstance(self.packed.data, tuple)  # what has no live records comes in frames
        return Frozen(self.packed.data[index])


@dataclass(slots=True)
class _OfParts:
    """Positions of the records that parts are of; looked up when somebody asks."""

    parts: Sequence[Part]
    origin: int

    def __getitem__(self, index: int, /) -> int:
        return self.parts[self.origin + index].journey.position


@dataclass(slots=True)
class Taken:
    """What was taken of a line: live values, or bytes that are there already."""

    values: Sequence[Any] | None
    first: int = -1
    parts: Sequence[Part] = ()
    packed: Packed | None = None
    rejected: dict[int, AnyFailure] = field(default_factory=dict)
    portion: Portion | None = None


class Line(Protocol):
    """What batches are cut of, in order, and what takes their answers."""

    def fill(self) -> None:
        """Let in what may wait here, before it is looked at."""

    @property
    def waiting(self) -> int:
        """Records that could be taken, now or in a moment."""

    @property
    def ended(self) -> bool:
        """No more will be fed."""

    @property
    def paused(self) -> bool:
        """Nobody knows of more that is about to come: less than a batch may go to an idle lane."""

    @property
    def room_bytes(self) -> int:
        """Bytes that may be taken."""

    def take(self, most: int) -> Taken | None:
        """The first records; None where there is no room for any."""

    def give_back(self, taken: Taken) -> None:
        """They do not fit now, and are the first again."""

    def open(self, taken: Taken, nbytes: int) -> None:
        """They are a batch of so many bytes now."""

    def answered(self, batch: Batch, answer: Answer) -> bool:
        """Hand on what came of a batch; returns whether its records had to be told apart for that."""
