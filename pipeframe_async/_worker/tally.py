"""What came of a batch, as its steps count it; and of a long fan-out, what leaves before its end.

Comes in: outcomes, one record after the other. Goes out: a `Tally`, whole or in portions. It knows nothing of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from time import monotonic, time_ns
from typing import Any, Literal, NamedTuple

from pipeframe_async.weight import weight
from pipeframe_async.wire import Portions, StepTimes, StepTrace, WireFailure

SAMPLES = 8
"""Timed records a batch while steps are fast, at most. Fewer make p99 a guess; more say little that is new."""
TOGETHER = 32
"""Children that are held together where they are small, however long they take. With fewer a record that fails at its
tenth would have left some behind; with more a slow fan-out shows nothing for longer."""
SECONDS = 1.0
"""After which children leave of which there are more. Shorter costs hops, longer shows a slow fan-out late."""
FAILURE_BYTES = 2048
"""What a failure is taken to weigh: its traceback, most of all."""


class Origin(NamedTuple):
    """Of a result that a fan-out has made: the path to that child of its record, and the child as it was yielded."""

    path: tuple[int, ...]
    child: Any


class Mark(NamedTuple):
    """How many there were of each, in all, at some moment."""

    results: int = 0
    bypassed: int = 0
    failures: int = 0
    filtered: int = 0


NOTHING = Mark()


class Level:
    """A generator of a step, under way.

    Attributes:
        position: the step's.
        children: the generator.
        mark: how much there was before it.
        skip: so many of its children have left, in a life before.
        count: how many it has yielded.
        child: the last one.
        spent: nanoseconds it has taken.
    """

    __slots__ = ("child", "children", "count", "mark", "position", "skip", "spent")

    def __init__(self, position: int, children: Generator[Any, None, None], mark: Mark, skip: int = 0) -> None:
        self.position = position
        self.children = children
        self.mark = mark
        self.skip = skip
        self.spent = self.count = 0
        self.child: Any = None

    def close(self, error: BaseException) -> BaseException:
        """It is asked for no more because of an error; returns that, or what it raises as it is closed."""
        try:
            self.children.close()
        except BaseException as other:
            return other
        return error


class FanOut:
    """The fan-out of one record: its generator, and those of its children, the innermost last.

    Attributes:
        index: the record's.
        mark: how much there was before it.
        outcomes, nbytes: of its children, that are here.
        results, failures: how many the tally had, when the last of those had come.
        last: of which kind that one is.
        after: of the child that came last so many children had come and left before it failed; None where it is there
            as a whole.
    """

    __slots__ = ("after", "failures", "index", "last", "levels", "mark", "nbytes", "outcomes", "results")

    def __init__(self, index: int, tally: Tally) -> None:
        self.index = index
        self.mark = tally.mark()
        self.levels: list[Level] = []
        self.outcomes = self.nbytes = 0
        self.last: Literal["result", "failure", "filtered"] = "result"
        self.after: int | None = None
        self.sees(tally)

    def sees(self, tally: Tally) -> None:
        """So many are there now, none of them new."""
        self.results, self.failures = len(tally.results), len(tally.failures)

    @property
    def child(self) -> tuple[int, ...]:
        """The path to the child that is on its way: its number at each level."""
        return tuple(level.count - 1 for level in self.levels)

    @property
    def path(self) -> tuple[int, ...]:
        """To the child that came last: its number at each level, and how many of its own have left."""
        path = self.child
        return path if self.after is None else (*path, self.after)

    def close(self) -> None:
        """Nobody wants the rest of it, nor what it raises over that."""
        while self.levels:
            with suppress(BaseException):
                self.levels.pop().children.close()


class Cuts:
    """Says when what came of a fan-out is to leave; one for a batch.

    Args:
        portions: how much may be held, and what of the first record has left in a life before.
    """

    __slots__ = ("_gone", "_most", "_most_bytes", "_nbytes", "_outcomes", "_since", "_skips")

    def __init__(self, portions: Portions) -> None:
        self._most = portions.most
        self._most_bytes = portions.most_bytes
        self._gone = portions.gone
        self._skips = [*portions.gone]
        self._since = monotonic()
        self._outcomes = self._nbytes = 0  # of records before the one under way

    def skip(self, fan_out: FanOut) -> int:
        """How many children of the generator that begins are to be passed over."""
        return self._skips.pop(0) if self._skips and not fan_out.index else 0

    def passed(self) -> bool:
        """One was; whether it is time to say that this is still at work."""
        return monotonic() - self._since > SECONDS / 4

    def due(self, fan_out: FanOut, tally: Tally) -> bool:
        """An outcome of a child has come; whether it is time to let a portion go."""
        if self._skips:
            self._skips.clear()  # it had not left
        fan_out.outcomes += 1
        if len(results := tally.results) > fan_out.results:
            fan_out.results += 1
            fan_out.last = "result"
            kind = type(value := results[-1])
            fan_out.nbytes += 5 if kind is int or kind is float else weight(value)
        elif len(tally.failures) > fan_out.failures:
            fan_out.failures += 1
            fan_out.last = "failure"
            fan_out.nbytes += FAILURE_BYTES
        else:
            fan_out.last = "filtered"
        outcomes = self._outcomes + fan_out.outcomes
        if outcomes > self._most or self._nbytes + fan_out.nbytes >= self._most_bytes:
            return outcomes > 1
        return not outcomes % TOGETHER and fan_out.outcomes >= TOGETHER and monotonic() - self._since > SECONDS

    def ended(self, fan_out: FanOut) -> None:
        """A record has come to its end."""
        self._outcomes += fan_out.outcomes
        self._nbytes += fan_out.nbytes

    def left(self, fan_out: FanOut, *, whole: bool) -> tuple[int, ...]:
        """A portion has left; `whole`: of the one under way all children but the last. Returns what of it is gone."""
        self._outcomes = self._nbytes = 0
        self._since = monotonic()
        if whole and fan_out.outcomes > 1:
            self._gone = fan_out.path
            fan_out.outcomes, fan_out.nbytes = 1, 0
        elif not whole:
            self._gone = ()
        return self._gone


class Tally:
    """What came of one batch.

    `spans` has the number of results of each record that has not exactly one, `grown` how many outcomes beyond one
    each record has that has more. What has left in a portion is in neither. Records go by their index in the batch.

    Args:
        steps: how many the chain has.
        portions: how much may be held of a fan-out; None where all of it.
        live: what comes of it stays in this process.

    Attributes:
        first: the record whose outcomes are the first that are here.
        under_way: the fan-out that goes on when this portion has left.
        gone: the path to the first of its children that has not left.
        cuts: says when a portion is to leave; None where none may.
        traced: records that are in a trace, and the spans of their steps' parents.
        tracing: which of them is at work; -1 where none is.
        trace: what steps took over them.
        origins: of results, by their position, where they are children; None where nobody wants to know.
        claim: as `Cursor.claim`, of records that others may have until then; None where all are its own.
        stop: the index behind the last of its records, where those behind it were ceded.
        settled: where records go through the steps in groups, how many of them are at their end, and entered; None
            where each goes by itself.
    """

    __slots__ = (
        "_left",
        "bypass_at",
        "calls",
        "claim",
        "cuts",
        "failures",
        "filtered",
        "first",
        "gone",
        "grown",
        "live",
        "most",
        "origins",
        "results",
        "samples",
        "settled",
        "slowest",
        "spans",
        "stop",
        "trace",
        "traced",
        "tracing",
        "under_way",
    )

    def __init__(self, steps: int, portions: Portions | None = None, *, live: bool = False) -> None:
        self.live = live
        self.claim: Callable[[int, int], int] | None = None
        self.stop: int | None = None
        self.results: list[Any] = []
        self.bypass_at: list[int] = []
        self.filtered = 0
        self.grown: dict[int, int] = {}
        self.failures: list[WireFailure] = []
        self.spans: dict[int, int] = {}
        self.calls = [0] * steps
        self.samples: list[list[int]] = [[] for _ in range(steps)]
        self.most = [0] * steps  # the longest of them
        self.slowest = [0] * steps  # and the record of that
        self.first = 0
        self.under_way: FanOut | None = None
        self.gone: tuple[int, ...] = ()
        self.cuts = None if portions is None else Cuts(portions)
        self._left = NOTHING
        self.traced: dict[int, str] = {}
        self.tracing = -1
        self.trace: list[StepTrace] = []
        self.origins: dict[int, Origin] | None = None
        self.settled: int | None = None

    def times(self) -> tuple[StepTimes, ...]:
        """Per step: calls, how many of them were timed, their nanoseconds, and a sample of them."""
        return tuple(
            StepTimes(
                calls, len(samples), sum(samples), tuple(samples[:: 1 + len(samples) // (4 * SAMPLES)]), most, slowest
            )
            for calls, samples, most, slowest in zip(self.calls, self.samples, self.most, self.slowest, strict=True)
        )

    def took(self, position: int, spent: int, index: int) -> None:
        """A call of the step there, over this record, took so many nanoseconds."""
        self.samples[position].append(spent)
        if spent > self.most[position]:
            self.most[position], self.slowest[position] = spent, index
        if index == self.tracing:
            self.trace.append(StepTrace(index, position, time_ns(), spent))

    def bear(self, fan_out: FanOut) -> None:
        """The last result is what came of the child that is on its way."""
        assert self.origins is not None
        if fan_out.levels:
            self.origins[len(self.results) - 1] = Origin(fan_out.child, fan_out.levels[-1].child)

    def mark(self) -> Mark:
        """How many there have been until now, those that have left included."""
        left = self._left
        if left is NOTHING:
            return Mark(len(self.results), len(self.bypass_at), len(self.failures), self.filtered)
        return Mark(
            left.results + len(self.results),
            left.bypassed + len(self.bypass_at),
            left.failures + len(self.failures),
            left.filtered + self.filtered,
        )

    def left(self, mark: Mark) -> bool:
        """Whether some of what has come since has left."""
        return any(gone > there for there, gone in zip(mark, self._left, strict=True))

    def back_to(self, mark: Mark) -> None:
        """Take back what has come since, unless it has left."""
        held = self._held(mark)
        del self.results[held.results :], self.bypass_at[held.bypassed :], self.failures[held.failures :]
        self.filtered = held.filtered
        while self.origins and next(reversed(self.origins)) >= held.results:
            self.origins.popitem()

    def settle(self, fan_out: FanOut) -> None:
        """A record has come to its end: enter what it came to."""
        held = self._held(fan_out.mark)
        results = len(self.results) - held.results
        outcomes = results + len(self.failures) - held.failures + self.filtered - held.filtered
        if outcomes == 0:  # all of it had left, in a life before, in which it went on
            self.filtered += 1
        elif outcomes > 1:
            self.grown[fan_out.index] = outcomes - 1
        if results != 1:
            self.spans[fan_out.index] = results
        if self.cuts is not None:
            self.cuts.ended(fan_out)

    def cut(self) -> Tally:
        """The portion that leaves: the records before the one under way; where there are none, of its children all
        but the last that has come. That stays, so that a record has an outcome when it comes to its end.
        """
        assert self.under_way is not None
        assert self.cuts is not None
        fan_out, index = self.under_way, self.under_way.index
        whole = self.first == index
        held = self._before_last(fan_out) if whole else self._held(fan_out.mark)
        portion = Tally(len(self.calls))
        portion.under_way = fan_out
        portion.first, self.first = self.first, index
        portion.calls, self.calls = self.calls, portion.calls
        portion.samples, self.samples = self.samples, portion.samples
        portion.most, self.most = self.most, portion.most
        portion.slowest, self.slowest = self.slowest, portion.slowest
        portion.trace, self.trace = self.trace, portion.trace
        portion.spans, self.spans = {**self.spans, index: held.results if whole else 0}, {}
        portion.grown, self.grown = self.grown, {}
        if whole and (outcomes := held.results + held.failures + held.filtered):
            portion.grown = {index: outcomes}
        self._leave(portion, held)
        portion.gone = self.cuts.left(fan_out, whole=whole)
        fan_out.sees(self)
        return portion

    def _before_last(self, fan_out: FanOut) -> Mark:
        """All that is here of a fan-out, but for the outcome that came last."""
        results, bypassed, failures = len(self.results), len(self.bypass_at), len(self.failures)
        if not fan_out.outcomes:
            return NOTHING
        if fan_out.last == "result":
            return Mark(results - 1, bypassed - (self.bypass_at[-1:] == [results - 1]), failures, self.filtered)
        if fan_out.last == "failure":
            return Mark(results, bypassed, failures - 1, self.filtered)
        return Mark(results, bypassed, failures, self.filtered - 1)

    def _leave(self, portion: Tally, held: Mark) -> None:
        """So many results, failures and filtered go to the portion."""
        left = self._left
        self._left = Mark(*(before + now for before, now in zip(left, held, strict=True)))
        portion.results, self.results = self.results[: held.results], self.results[held.results :]
        portion.failures, self.failures = self.failures[: held.failures], self.failures[held.failures :]
        portion.bypass_at = self.bypass_at[: held.bypassed]
        self.bypass_at = [at - held.results for at in self.bypass_at[held.bypassed :]]
        portion.filtered, self.filtered = held.filtered, self.filtered - held.filtered

    def _held(self, mark: Mark) -> Mark:
        """Of what there was at a mark, how many are still here."""
        if self._left is NOTHING:  # as ever, but for long fan-outs
            return mark
        return Mark(*(max(0, there - left) for there, left in zip(mark, self._left, strict=True)))

    def before(self, index: int) -> Tally:
        """As it was when the record at `index` began. Sums of its law, for that record may have half counted."""
        cut = Tally(len(self.calls))
        cut.first = self.first
        cut.spans = {at: span for at, span in self.spans.items() if at < index}
        cut.results = self.results[: index - self.first + sum(span - 1 for span in cut.spans.values())]
        cut.bypass_at = [at for at in self.bypass_at if at < len(cut.results)]
        cut.failures = [failure for failure in self.failures if failure.at < index]
        cut.grown = {at: more for at, more in self.grown.items() if at < index}
        cut.filtered = index - self.first + sum(cut.grown.values()) - len(cut.results) - len(cut.failures)
        return cut
