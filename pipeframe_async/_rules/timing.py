"""Step times, gathered from the replies of all workers: sums, and quantiles from a histogram.

Buckets are an eighth of an octave or finer: a quantile is off by at most 1/8 of itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import partial

from pipeframe_async.report import StepReport
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
        self._calls = self._timed = self._timed_ns = 0
        self._histogram: Counter[int] = Counter()

    def add(self, times: StepTimes) -> None:
        """Add what one batch measured."""
        self._calls += times.calls
        self._timed += times.timed
        self._timed_ns += times.timed_ns
        self._histogram.update(map(bucket, times.samples))

    def report(self) -> StepReport:
        """Calls as counted; seconds as measured where all were timed, else as the timed ones suggest."""
        mean = self._timed_ns / self._timed / 1e9 if self._timed else 0.0
        return StepReport(
            name=self._name,
            where=self._where,
            calls=self._calls,
            seconds=mean * self._calls,
            mean=mean,
            p50=self._quantile(0.50),
            p99=self._quantile(0.99),
        )

    def _quantile(self, q: float) -> float:
        rank = q * self._histogram.total()
        seen = 0
        for number in sorted(self._histogram):
            seen += self._histogram[number]
            if seen >= rank:
                return middle(number) / 1e9
        return 0.0


def gather(clocks: Sequence[StepClock], steps: Sequence[StepTimes]) -> None:
    """Add a reply's times, step by step."""
    for clock, times in zip(clocks, steps, strict=True):
        clock.add(times)
