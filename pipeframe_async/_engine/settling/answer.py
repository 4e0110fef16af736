"""An answer: what came of consecutive records of the feed, or of one record on a journey.

Comes in: counts and results, from whoever has had the records worked on. Goes out: a value that is put in order,
delivered and settled as it is. Made here alone, by `answer_of`, which knows the law its counts obey, or `given_up`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pipeframe_async._rules.journey import Came
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.errors import InternalError
from pipeframe_async.model import AnyFailure

NO_COUNTS: Mapping[int, int] = MappingProxyType({})
"""What most answers have none of. Shared: thousands of empty ones would keep the garbage collector busy."""
NOBODY: AbstractSet[int] = frozenset()


@dataclass(slots=True)
class Answer:
    """What came of records; `outcome` becomes final when the consumer has taken the results.

    Where it is a portion, some of what the record behind its last one comes to is here too, all of it in `grown`.

    Not frozen, for single records have one each and that would double its price; nobody changes it.

    Attributes:
        first: feed position of its first record; it goes by that.
        count: how many records it had.
        outcome: what became of them, if all results are taken.
        results: in feed order.
        failures: each with its record's index among these records.
        spans: number of results of each record that has not exactly one, by index.
        grown: number of outcomes beyond one of each record that has more, by index.
        bypass_at: which results bypass all steps that follow, by their index among the results; where it is a batch's.
        again: indices of records that failed in a way that is worth another attempt.
        nbytes: what it holds.
        then: called when it is final; of portions.
    """

    first: int
    count: int
    outcome: Outcome
    results: list[Any]
    failures: Sequence[tuple[int, AnyFailure]] = ()
    spans: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    grown: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    bypass_at: Sequence[int] = ()
    again: AbstractSet[int] = NOBODY
    nbytes: int = 0
    then: Callable[[], object] | None = None

    def record_by_record(self) -> Iterator[Came]:
        """What each record came to; a result that was not wanted stands there as None.

        Of a portion, at last, what has come of the record that is under way.
        """
        failures: dict[int, list[AnyFailure]] = defaultdict(list)
        for index, failure in self.failures:
            failures[index].append(failure)
        bypass, results, at = set(self.bypass_at), self.results, 0
        for index in range(self.count + (self.then is not None)):
            end = at + self.spans.get(index, 1)
            values = tuple((results[of] if results else None, of in bypass) for of in range(at, end))
            failed = tuple(failures.get(index, ()))
            filtered = (index < self.count) + self.grown.get(index, 0) - len(values) - len(failed)
            yield Came(values, filtered, failed, index in self.again)
            at = end

    def without(self, indices: AbstractSet[int]) -> Iterator[Answer]:
        """The answers of the stretches of records between those."""
        start = at = end = 0  # the first record of the stretch, its first result, and the one after its last
        for index in range(self.count + 1):
            if index == self.count or index in indices:
                if start < index:
                    yield self._stretch(start, index, at, end)
                start, at = index + 1, end
            if index < self.count:
                end += self.spans.get(index, 1)
                at = end if start > index else at

    def _stretch(self, start: int, stop: int, at: int, end: int) -> Answer:
        """The answer of the records from `start` up to `stop`, whose results are those from `at` up to `end`."""
        failures = [(index - start, failure) for index, failure in self.failures if start <= index < stop]
        bypass_at = [of - at for of in self.bypass_at if at <= of < end]
        grown = {index - start: more for index, more in self.grown.items() if start <= index < stop}
        return answer_of(
            self.first + start,
            stop - start,
            delivered=end - at,
            bypassed=len(bypass_at),
            filtered=stop - start + sum(grown.values()) - (end - at) - len(failures),
            results=self.results[at:end],
            failures=failures,
            spans={index - start: span for index, span in self.spans.items() if start <= index < stop},
            grown=grown,
            bypass_at=bypass_at,
            nbytes=self.nbytes * (stop - start) // self.count,
        )


def answer_of(
    first: int,
    count: int,
    *,
    delivered: int,
    bypassed: int,
    filtered: int,
    results: list[Any],
    failures: Sequence[tuple[int, AnyFailure]] = (),
    spans: Mapping[int, int] = NO_COUNTS,
    grown: Mapping[int, int] = NO_COUNTS,
    bypass_at: Sequence[int] = (),
    again: AbstractSet[int] = NOBODY,
    nbytes: int = 0,
    then: Callable[[], object] | None = None,
) -> Answer:
    """The answer of so many records; the arguments are as `Answer` and `Outcome` have them.

    Raises:
        InternalError: the counts do not account for each record once.
    """
    emitted = sum(grown.values()) if grown else 0
    outcome = Outcome(delivered, bypassed, filtered, len(failures), 0, emitted)
    if outcome.records != count:
        raise InternalError(f"batch of {count} records came back as {outcome}")
    return Answer(first, count, outcome, results, failures, spans, grown, bypass_at, again, nbytes, then)


def given_up(first: int, then: Callable[[], object] | None = None) -> Answer:
    """The answer of one record that is not worked on any further."""
    return Answer(first, 1, Outcome(aborted=1), [], then=then)
