"""Step times, gathered from the replies of all workers: sums, and quantiles from a histogram.

Buckets are an eighth of an octave or finer: a quantile is off by at most 1/8 of itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pipeframe_async.stats import Histogram, StepReport
from pipeframe_async.wire import StepTimes

_EDGES = (*range(8), *(leading << octave for octave in range(61) for leading in range(8, 16)))
"""Where buckets begin, nanoseconds: exact below 16, then eight an octave."""

bucket = partial(bisect_right, _EDGES)
"""The bucket of a duration in nanoseconds, by its number. Without Python code: it is asked for each sample."""


def middle(number: int) -> float:
    """The duration in the middle of a bucket, nanoseconds."""
    begin = _EDGES[number - 1]
    return (begin + _EDGES[number] - 1) / 2 if number < len(_EDGES) else float(begin)


SECONDS: Final = (1e-6, 1e-5, 1e-4, 1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10, 30, 120, 600)
"""Upper bounds of a histogram of durations that others read, seconds."""
NANO: Final = 1e-9
RECORDS: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
"""The same of numbers of records."""


class Spread:
    """How a quantity is spread, in fixed memory: whole numbers, nanoseconds as a rule, in fine buckets."""

    __slots__ = ("_counts", "most", "sum")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()  # weights are fractions where samples stand for others
        self.most = 0
        self.sum = 0.0

    def add(self, value: int, weight: float = 1) -> None:
        """A value was seen, so many times."""
        self._counts[bucket(value)] += weight  # type: ignore[assignment]
        self.sum += value * weight
        if value > self.most:
            self.most = value

    def sampled(self, samples: Sequence[int], of: int, total: float, most: int, *, typical: bool = True) -> None:
        """Some of so many values were seen, that come to `total` and of which the largest is `most`.

        Not `typical`: the largest stands for itself alone.
        """
        if not samples:
            return
        self.sum += total
        self.most = max(self.most, most)
        if len(samples) == of:
            self._counts.update(map(bucket, samples))
            return
        counts, others = self._counts, list(samples)
        if not typical:
            others.remove(alone := max(others))
            counts[bucket(alone)] += 1
        for number in map(bucket, others):  # few: to count them first would take longer
            counts[number] += of / len(others)  # type: ignore[assignment]

    def quantile(self, q: float) -> float:
        """The value that a share `q` of all is not above, to an eighth of itself; 0 where there is none."""
        counts = self._counts.copy()  # in one piece: any thread may ask
        return _quantile(sorted(counts.items()), q * counts.total(), self.most)

    def histogram(self, bounds: Sequence[float] = SECONDS, unit: float = NANO) -> Histogram:
        """As others read it.

        Args:
            bounds: upper bounds of its buckets.
            unit: what 1 is in those.
        """
        counts = sorted(self._counts.copy().items())
        if not counts:
            return Histogram()
        total = float(sum(weight for _, weight in counts))
        below, at, seen = [], 0, 0.0
        for bound in bounds:
            while at < len(counts) and middle(counts[at][0]) * unit <= bound:
                seen += counts[at][1]
                at += 1
            below.append(seen)
        p50, p99 = (_quantile(counts, q * total, self.most) * unit for q in (0.5, 0.99))
        return Histogram(tuple(bounds), tuple(below), total, self.sum * unit, p50, p99)


def _quantile(counts: Sequence[tuple[int, float]], rank: float, most: int) -> float:
    seen = 0.0
    for number, weight in counts:
        seen += weight
        if seen >= rank - 1e-9:
            return min(middle(number), most)  # the middle of a bucket may be past its largest
    return float(most)


class BatchClock:
    """What the batches of one run are like.

    Attributes:
        records: how many they have.
        packing, reading: how long it takes to make bytes of their records, and values of their results; nanoseconds.
    """

    __slots__ = ("packing", "reading", "records")

    def __init__(self) -> None:
        self.records, self.packing, self.reading = Spread(), Spread(), Spread()

    def add(self, records: int, packing: float, reading: float) -> None:
        """One has come back; seconds."""
        self.records.add(records)
        self.packing.add(int(packing * 1e9))
        self.reading.add(int(reading * 1e9))


class StepClock:
    """One step's times over a whole run.

    Attributes:
        spread: of its calls, nanoseconds.
    """

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where
        self._calls = 0
        self._estimated = 0  # calls of batches in which some were timed
        self._ns = 0.0  # that these took, if those that were not timed are like those that were
        self.spread = Spread()
        self._most = 0
        self._slowest: int | None = None

    @property
    def calls(self) -> int:
        """How often it was called."""
        return self._calls

    def add(self, times: StepTimes, position: int | None = None, share: float = 1.0) -> None:
        """Add what one batch measured.

        Args:
            times: that.
            position: in the feed, of the record that took longest.
            share: of what the calls that were not timed would have taken, if they were like the others, there was time
                for so much.
        """
        if times.most_ns > self._most:
            self._most, self._slowest = times.most_ns, position
        self._calls += times.calls
        if times.timed:
            self._estimated += times.calls
            took = times.timed_ns + share * _untimed(times)
            self._ns += took
            self.spread.sampled(times.samples, times.calls, took, times.most_ns, typical=share == 1.0)

    def report(self) -> StepReport:
        """Calls as counted; seconds as measured where all were timed, else as the timed ones of each batch suggest."""
        mean = self._ns / self._estimated / 1e9 if self._estimated else 0.0
        return StepReport(
            name=self._name,
            where=self._where,
            calls=self._calls,
            seconds=mean * self._calls,
            mean=mean,
            p50=self.spread.quantile(0.50) / 1e9,
            p99=self.spread.quantile(0.99) / 1e9,
            max=self._most / 1e9,
            slowest=self._slowest,
        )


def gather(
    clocks: Sequence[StepClock], steps: Sequence[StepTimes], position: Callable[[int], int], wall: float = 0.0
) -> None:
    """Add a reply's times, step by step.

    Args:
        clocks: of the steps.
        steps: their times.
        position: from a record's index to its place in the feed.
        wall: seconds that all of it took; 0 where nobody knows. Where the one slow record of a batch is among those
            that were timed, the others were not like it.
    """
    left = wall * 1e9 - sum(times.timed_ns for times in steps)
    untimed = sum(map(_untimed, steps))
    share = min(1.0, max(0.0, left) / untimed) if wall and untimed else 1.0
    for clock, times in zip(clocks, steps, strict=True):
        clock.add(times, position(times.slowest) if times.most_ns else None, share)


def _untimed(times: StepTimes) -> float:
    """Nanoseconds of the calls that were not timed, if they are like those that were."""
    return times.timed_ns / times.timed * (times.calls - times.timed) if times.timed else 0.0
