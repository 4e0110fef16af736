"""Runs of one pipeline, together: what metrics count over all of them, however many there have been.

Sums of what is counted; of what is now (stages, waits) nothing is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeframe_async._rules.failure_groups import MOST_GROUPS
from pipeframe_async.stats import FailureGroup, Histogram, RunStats, StepReport


def by_pipeline(runs: Iterable[RunStats]) -> dict[str, RunStats]:
    """The runs of each pipeline as one, by its name."""
    together: dict[str, RunStats] = {}
    for run in runs:
        before = together.get(run.pipeline)
        together[run.pipeline] = run if before is None else merged(before, run)
    return together


def merged(one: RunStats, other: RunStats) -> RunStats:
    """Two runs of a pipeline as one; `other` is the later one, and what cannot be summed is its."""
    names = [step.name for step in other.steps]
    same = names == [step.name for step in one.steps]  # else its steps were changed between the two
    return replace(
        other,
        began=min(one.began, other.began),
        counts=one.counts + other.counts,
        steps=tuple(map(_step, one.steps, other.steps)) if same else other.steps,
        step_seconds=_histograms(one.step_seconds, other.step_seconds) if same else other.step_seconds,
        queue_seconds=_histogram(one.queue_seconds, other.queue_seconds),
        batch_records=_histogram(one.batch_records, other.batch_records),
        packing_seconds=_histogram(one.packing_seconds, other.packing_seconds),
        reading_seconds=_histogram(one.reading_seconds, other.reading_seconds),
        failures=_groups((*one.failures, *other.failures)),
    )


def _step(one: StepReport, other: StepReport) -> StepReport:
    calls, seconds = one.calls + other.calls, one.seconds + other.seconds
    return replace(other, calls=calls, seconds=seconds, mean=seconds / calls if calls else 0.0)


def _histograms(one: Sequence[Histogram], other: Sequence[Histogram]) -> tuple[Histogram, ...]:
    return tuple(map(_histogram, one, other))


def _histogram(one: Histogram, other: Histogram) -> Histogram:
    if not (one.bounds and other.bounds):
        return one if one.bounds else other
    counts = tuple(mine + theirs for mine, theirs in zip(one.counts, other.counts, strict=True))
    return replace(other, counts=counts, count=one.count + other.count, sum=one.sum + other.sum)


def _groups(groups: Iterable[FailureGroup]) -> tuple[FailureGroup, ...]:
    together: defaultdict[tuple[str, str, str], list[FailureGroup]] = defaultdict(list)
    for group in groups:
        key = group.step, group.kind, group.error_type
        together[key if key in together or len(together) < MOST_GROUPS else ("", "", "")].append(group)
    return tuple(
        FailureGroup(
            *key,
            count=sum(group.count for group in those),
            newest=max(group.newest for group in those),
            traceback=those[0].traceback if key[0] else "",
        )
        for key, those in together.items()
    )
