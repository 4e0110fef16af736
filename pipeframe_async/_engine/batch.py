"""A batch on its way out, and the answer on its way back: what the parts of the engine hand to each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeframe_async._engine.places import Place
from pipeframe_async._rules.journey import Came, Part
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.model import AnyFailure, Failure
from pipeframe_async.wire import Packed


@dataclass(slots=True)
class Batch:
    """Records bound for a lane.

    Attributes:
        number: counts batches.
        first: feed position of its first record, where they are consecutive; -1 where it is made of parts.
        packed: the records as bytes, or live; a record's index is its position there.
        records: the live objects, kept until the reply in case their bytes cannot be read; None for
            records that came from disk.
        rejected: by index, the records that have no bytes.
        place: where it is run, all parts of it.
        packing: seconds of this process that its bytes took.
        parts: of journeys, whose values these records are.
    """

    number: int
    first: int
    packed: Packed
    records: Sequence[Any] | None
    rejected: dict[int, AnyFailure]
    place: Place
    packing: float = 0.0
    parts: Sequence[Part] = ()

    @property
    def count(self) -> int:
        """Records this stands for."""
        return self.packed.records


@dataclass(slots=True)
class Answer:
    """What came of consecutive records; `outcome` becomes final when the consumer has taken the results.

    Attributes:
        first: feed position of its first record; it goes by that.
        count: how many records it had.
        outcome: what became of them, if all results are taken.
        results: in feed order.
        failures: each with its record's index in the batch.
        spans: number of results of each record that has not exactly one, by index.
        grown: number of outcomes beyond one of each record that has more, by index.
        bypass_at: positions of those results that bypass all steps that follow.
        again: indices of records that failed in a way that is worth another attempt.
        nbytes: what it holds.
    """

    first: int
    count: int
    outcome: Outcome
    results: list[Any] = field(default_factory=list)
    failures: list[tuple[int, AnyFailure]] = field(default_factory=list)
    spans: dict[int, int] = field(default_factory=dict)
    grown: dict[int, int] = field(default_factory=dict)
    bypass_at: list[int] = field(default_factory=list)
    again: set[int] = field(default_factory=set)
    nbytes: int = 0

    def record_by_record(self) -> Iterator[Came]:
        """What each record came to; a result that was not wanted stands there as None."""
        failures: dict[int, list[AnyFailure]] = defaultdict(list)
        for index, failure in self.failures:
            failures[index].append(failure)
        bypass, results, at = set(self.bypass_at), self.results, 0
        for index in range(self.count):
            end = at + self.spans.get(index, 1)
            values = tuple((results[place] if results else None, place in bypass) for place in range(at, end))
            failed = tuple(failures.get(index, ()))
            filtered = 1 + self.grown.get(index, 0) - len(values) - len(failed)
            yield Came(values, filtered, failed, index in self.again)
            at = end

    def without(self, indices: set[int]) -> Iterator[Answer]:
        """The answers of the stretches of records between those."""
        start = at = end = 0  # the first record of the stretch, its first result, and the one after its last
        for index in range(self.count + 1):
            if index == self.count or index in indices:
                if start < index:
                    yield self._part(start, index, at, end)
                start, at = index + 1, end
            if index < self.count:
                end += self.spans.get(index, 1)
                at = end if start > index else at

    def _part(self, start: int, stop: int, at: int, end: int) -> Answer:
        """The answer of the records from `start` up to `stop`, whose results are those from `at` up to `end`."""
        failures = [(index - start, failure) for index, failure in self.failures if start <= index < stop]
        bypass_at = [place - at for place in self.bypass_at if at <= place < end]
        grown = {index - start: more for index, more in self.grown.items() if start <= index < stop}
        emitted = sum(grown.values())
        filtered = stop - start + emitted - (end - at) - len(failures)
        return Answer(
            self.first + start,
            stop - start,
            Outcome(end - at, len(bypass_at), filtered, len(failures), 0, emitted),
            self.results[at:end],
            failures,
            {index - start: span for index, span in self.spans.items() if start <= index < stop},
            grown,
            bypass_at,
            nbytes=self.nbytes * (stop - start) // self.count,
        )


def too_large(record: object, step: str, nbytes: int, capacity_bytes: int) -> AnyFailure:
    """The failure of a record that alone is more than the whole buffer may hold."""
    return Failure(
        record=record,
        step=step,
        kind="unpicklable",
        error_type="ConfigError",
        message=f"the record pickles to {nbytes:,} bytes, more than buffer_bytes={capacity_bytes:,} allows",
    )
