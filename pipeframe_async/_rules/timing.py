"""Step times, gathered from the replies of all workers: sums, and quantiles from a histogram.

Buckets are an eighth of an octave or finer: a quantile is off by at most 1/8 of itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from pipeframe_async.stats import StepReport
from pipeframe_async.wire import StepTimes

_EDGES = (*range(8), *(leading << octave for octave in range(61) for leading in range(8, 16)))
"""Where buckets begin, nanoseconds: exact below 16, then eight an octave."""

bucket = partial(bisect_right, _EDGES)
"""The bucket of a duration in nanoseconds, by its number. Without Python code: it is asked for each sample."""


def middle(number: int) -> float:
    """The duration in the middle of a bucket, nanoseconds."""
    begin = _EDGES[number - 1]
    return (begin + _EDGES[number] - 1) / 2 if number < len(_EDGES) else float(begin)


class StepClock:
    """One step's times over a whole run."""

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where
        self._calls = 0
        self._estimated = 0  # calls of batches in which some were timed
        self._ns = 0.0  # that these took, if those that were not timed are like those that were
        self._histogram: Counter[int] = Counter()
        self._most = 0
        self._slowest: int | None = None

    def add(self, times: StepTimes, position: int | None = None) -> None:
        """Add what one batch measured; `position`: in the feed, of the record that took longest."""
        if times.most_ns > self._most:
            self._most, self._slowest = times.most_ns, position
        self._calls += times.calls
        if times.timed:
            self._estimated += times.calls
            self._ns += times.timed_ns if times.timed == times.calls else times.timed_ns / times.timed * times.calls
        self._histogram.update(map(bucket, times.samples))

    def report(self) -> StepReport:
        """Calls as counted; seconds as measured where all were timed, else as the timed ones of each batch suggest."""
        mean = self._ns / self._estimated / 1e9 if self._estimated else 0.0
        return StepReport(
            name=self._name,
            where=self._where,
            calls=self._calls,
            seconds=mean * self._calls,
            mean=mean,
            p50=self._quantile(0.50),
            p99=self._quantile(0.99),
            max=self._most / 1e9,
            slowest=self._slowest,
        )

    def _quantile(self, q: float) -> float:
        rank = q * self._histogram.total()
        seen = 0
        for number in sorted(self._histogram):
            seen += self._histogram[number]
            if seen >= rank:
                return min(middle(number), self._most) / 1e9  # the middle of a bucket may be past its largest
        return 0.0


def gather(clocks: Sequence[StepClock], steps: Sequence[StepTimes], position: Callable[[int], int]) -> None:
    """Add a reply's times, step by step; `position`: from a record's index to its place in the feed."""
    for clock, times in zip(clocks, steps, strict=True):
        clock.add(times, position(times.slowest) if times.most_ns else None)
