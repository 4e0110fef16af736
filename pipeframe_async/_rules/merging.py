"""Runs of one pipeline, together: what metrics count over all of them, however many there have been.

Sums of what is counted; of what is now (stages, waits) nothing is kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from pipeframe_async._rules.failure_groups import MOST_GROUPS
from pipeframe_async.counting import add as add_counts
from pipeframe_async.stats import FailureGroup, Histogram, RunStats, Stats, StepReport

MOST_PIPELINES: Final = 100
"""Pipelines that are told apart once their runs are forgotten; those beyond are counted under "". Names that are made
anew for each run would fill the memory with more, 10 kB each."""


def remembered(before: Mapping[str, RunStats], gone: RunStats) -> dict[str, RunStats]:
    """What is kept of runs that are forgotten, by their pipelines, and of one more."""
    if gone.pipeline not in before and len(before) >= MOST_PIPELINES:
        gone = replace(gone, pipeline="")
    return {**before, **by_pipeline([*filter(None, [before.get(gone.pipeline)]), gone])}


def by_pipeline(runs: Iterable[RunStats]) -> dict[str, RunStats]:
    """The runs of each pipeline as one, by its name."""
    together: dict[str, RunStats] = {}
    for run in runs:
        before = together.get(run.pipeline)
        together[run.pipeline] = run if before is None else merged(before, run)
    return together


def merged(one: RunStats, other: RunStats) -> RunStats:
    """Two runs of a pipeline as one; `other` is the later one, and what cannot be summed is its."""
    steps, step_seconds = _steps(one, other)
    return replace(
        other,
        began=min(one.began, other.began),
        counts=_counts(one.counts, other.counts),
        steps=steps,
        step_seconds=step_seconds,
        queue_seconds=added(one.queue_seconds, other.queue_seconds),
        batch_records=added(one.batch_records, other.batch_records),
        packing_seconds=added(one.packing_seconds, other.packing_seconds),
        reading_seconds=added(one.reading_seconds, other.reading_seconds),
        failures=_groups((*one.failures, *other.failures)),
    )


def _counts(one: Stats, other: Stats) -> Stats:
    """Sums; of counters that are told apart no more than those of one run."""
    counters = dict(one.counters)
    add_counts(counters, other.counters)
    return replace(one + other, counters=counters)


def _steps(one: RunStats, other: RunStats) -> tuple[tuple[StepReport, ...], tuple[Histogram, ...]]:
    """Each step of the two, those of one name and place together: steps may have been changed between them."""
    ours, theirs = _by_name(one), _by_name(other)
    together = {**theirs, **{key: it for key, it in ours.items() if key not in theirs}}
    for key in ours.keys() & theirs.keys():
        (step, seconds), (later, more) = ours[key], theirs[key]
        together[key] = _step(step, later), added(seconds, more)
    steps, step_seconds = zip(*together.values(), strict=True) if together else ((), ())
    return steps, step_seconds


def _by_name(run: RunStats) -> dict[tuple[str, int], tuple[StepReport, Histogram]]:
    """Steps by their names, and which of that name they are."""
    seen: Counter[str] = Counter()
    found = {}
    for step, seconds in zip(run.steps, run.step_seconds, strict=True):
        found[step.name, seen[step.name]] = step, seconds
        seen[step.name] += 1
    return found


def _step(one: StepReport, other: StepReport) -> StepReport:
    calls, seconds = one.calls + other.calls, one.seconds + other.seconds
    return replace(other, calls=calls, seconds=seconds, mean=seconds / calls if calls else 0.0)


def added(one: Histogram, other: Histogram) -> Histogram:
    """Two histograms of one quantity as one; its quantiles are the later one's."""
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
