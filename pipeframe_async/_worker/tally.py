"""What came of a batch, as its steps count it; and of a long fan-out, what leaves before its end.

Comes in: outcomes, one record after the other. Goes out: a `Tally`, whole or in portions. It knows nothing of steps.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any, NamedTuple

from pipeframe_async._worker import codec
from pipeframe_async.wire import Portions, StepTimes, WireFailure

SAMPLES = 8
"""Timed records a batch while steps are fast, at most. Fewer make p99 a guess; more say little that is new."""
NEVER = 2**62


class Mark(NamedTuple):
    """How many there were of each, in all, at some moment."""

    results: int = 0
    bypassed: int = 0
    failures: int = 0
    filtered: int = 0


class Level:
    """A generator of a step, under way. `count`: how many it has yielded; `child`: the last one."""

    __slots__ = ("child", "children", "count", "mark", "position", "spent")

    def __init__(self, position: int, children: Generator[Any, None, None], mark: Mark) -> None:
        self.position = position
        self.children = children
        self.mark = mark
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
    """The fan-out of one record: its generator, and those of its children, the innermost last."""

    __slots__ = ("index", "levels", "mark")

    def __init__(self, index: int, mark: Mark) -> None:
        self.index = index
        self.mark = mark
        self.levels: list[Level] = []

    def close(self) -> None:
        """Nobody wants the rest of it, nor what it raises over that."""
        while self.levels:
            with suppress(BaseException):
                self.levels.pop().children.close()


class Tally:
    """What came of one batch.

    `spans` has the number of results of each record that has not exactly one, `grown` how many outcomes beyond one
    each record has that has more. What has left in a portion is in neither. Records go by their index in the batch.

    Args:
        steps: how many the chain has.
        portions: how much may be held of a fan-out; None where all of it.

    Attributes:
        first: the record whose outcomes are the first that are here.
        under_way: the fan-out that goes on when this portion has left.
        look: how many results there must be for another look at how much they are.
    """

    __slots__ = (
        "_gone",
        "_left",
        "_portions",
        "_weighed",
        "_weight",
        "bypass_at",
        "calls",
        "failures",
        "filtered",
        "first",
        "grown",
        "look",
        "most",
        "results",
        "samples",
        "slowest",
        "spans",
        "under_way",
    )

    def __init__(self, steps: int, portions: Portions | None = None) -> None:
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
        self._portions = portions
        self._gone = portions.gone if portions is not None else 0  # of the first record, in a life before
        self._left = Mark()
        self._weight = self._weighed = 0
        self.look = 1 if portions is not None else NEVER

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

    def mark(self) -> Mark:
        """How many there have been until now, those that have left included."""
        left = self._left
        return Mark(
            left.results + len(self.results),
            left.bypassed + len(self.bypass_at),
            left.failures + len(self.failures),
            left.filtered + self.filtered,
        )

    def back_to(self, mark: Mark) -> None:
        """Take back what has come since, unless it has left."""
        held = self._held(mark)
        del self.results[held.results :], self.bypass_at[held.bypassed :], self.failures[held.failures :]
        self.filtered = held.filtered

    def settle(self, index: int, mark: Mark) -> None:
        """A record that was at this mark when it began has come to its end: enter what it came to."""
        held = self._held(mark)
        results = len(self.results) - held.results
        outcomes = results + len(self.failures) - held.failures + self.filtered - held.filtered
        if outcomes == 0:  # all of it had left, in a life before, in which it went on
            self.filtered += 1
        elif outcomes > 1:
            self.grown[index] = outcomes - 1
        if results != 1:
            self.spans[index] = results

    def passes_over(self, fan_out: FanOut) -> bool:
        """Whether what has just come of a fan-out had left in a life before; then it is taken back."""
        if not self._gone or fan_out.index:
            return False
        held = self._held(fan_out.mark)
        self._gone -= len(self.results) - held.results + len(self.failures) - held.failures
        self._gone = max(0, self._gone - self.filtered + held.filtered)
        self.back_to(fan_out.mark)
        return True

    def full(self) -> bool:
        """Whether it is time to let a portion go; asked where there are as many results as `look` says."""
        assert self._portions is not None
        count = len(self.results)
        with suppress(BaseException):  # what has no pickle is found out when it is written
            self._weight += (count - self._weighed) * len(codec.dumps(self.results[-1]))
        self._weighed = count
        self.look = min(2 * count, max(count, self._portions.most) + 1)
        return count > self._portions.most or (count > 1 and self._weight >= self._portions.most_bytes)

    def cut(self) -> Tally:
        """The portion that leaves: the records before the one under way; where there are none, of its children all
        that are there but the last result. That stays, so that a record has an outcome when it comes to its end.
        """
        assert self.under_way is not None
        index, held = self.under_way.index, self._held(self.under_way.mark)
        portion = Tally(len(self.calls))
        portion.under_way = self.under_way
        portion.first, self.first = self.first, index
        portion.calls, self.calls = self.calls, portion.calls
        portion.samples, self.samples = self.samples, portion.samples
        portion.most, self.most = self.most, portion.most
        portion.slowest, self.slowest = self.slowest, portion.slowest
        portion.spans, self.spans = {**self.spans, index: 0}, {}
        portion.grown, self.grown = self.grown, {}
        if portion.first == index:
            held = Mark(len(self.results) - 1, 0, len(self.failures), self.filtered)
            portion.spans[index] = held.results
            portion.grown = {index: held.results + held.failures + held.filtered}
        self._leave(portion, held)
        self._weight, self._weighed, self.look = 0, 0, len(self.results) + 1
        return portion

    def _leave(self, portion: Tally, held: Mark) -> None:
        """So many results, failures and filtered go to the portion."""
        left = self._left
        bypassed = sum(at < held.results for at in self.bypass_at)
        self._left = Mark(
            left.results + held.results,
            left.bypassed + bypassed,
            left.failures + held.failures,
            left.filtered + held.filtered,
        )
        portion.results, self.results = self.results[: held.results], self.results[held.results :]
        portion.failures, self.failures = self.failures[: held.failures], self.failures[held.failures :]
        portion.bypass_at = self.bypass_at[:bypassed]
        self.bypass_at = [at - held.results for at in self.bypass_at[bypassed:]]
        portion.filtered, self.filtered = held.filtered, self.filtered - held.filtered

    def _held(self, mark: Mark) -> Mark:
        """Of what there was at a mark, how many are still here."""
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
