"""The metrics of a frame as values, made of one snapshot: whichever library shows them, they are the same.

Comes in: a `Seen`. Goes out: families, each of one kind and with one value for each set of labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pipeframe_async._rules.merging import added, by_pipeline
from pipeframe_async.stats import Histogram, RunStats, Stats

OUTCOMES = ("delivered", "filtered", "failed", "aborted", "skipped")
STATES = ("busy", "idle", "starting", "restarting", "stopped")

Labels = tuple[str, ...]


class Seen(NamedTuple):
    """A snapshot, and by how much the turns of the loop came late."""

    stats: Stats
    lateness: Histogram


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name as Prometheus has it but for `_total`, what it says, and its values by labels."""

    name: str
    kind: Literal["counter", "gauge"]
    said: str
    labels: Labels = ("pipeline",)
    values: dict[Labels, float] = field(default_factory=dict)

    def add(self, labels: Labels, value: float) -> None:
        """So many more of these."""
        written = _written(labels)
        self.values[written] = self.values.get(written, 0) + value


@dataclass(frozen=True, slots=True)
class Spread:
    """The same of a histogram."""

    name: str
    said: str
    labels: Labels = ("pipeline",)
    values: dict[Labels, Histogram] = field(default_factory=dict)

    def add(self, labels: Labels, histogram: Histogram) -> None:
        """One more, if anything was measured."""
        if histogram.bounds:
            written = _written(labels)
            self.values[written] = added(self.values[written], histogram) if written in self.values else histogram


def _written(labels: Labels) -> Labels:
    """Names are the user's: UTF-8 cannot write all of them, and steps may have the same."""
    return tuple(name if name.isascii() else name.encode("utf-8", "backslashreplace").decode() for name in labels)


def families(seen: Seen) -> Iterator[Family | Spread]:
    """All of a frame's: counts over its whole life, and what is now."""
    stats, lateness = seen
    runs = by_pipeline((*stats.before, *stats.runs))
    yield from _counters(runs)
    yield from _gauges(runs, by_pipeline(run for run in stats.runs if run.state != "closed"))
    yield from _spreads(runs)
    yield from _of_workers(stats)
    lag = Spread("pipeframe_loop_lag_seconds", "By how much turns of the event loop came late.", ())
    lag.add((), lateness)
    yield lag


def _counters(runs: Mapping[str, RunStats]) -> Iterator[Family]:
    records = Family("pipeframe_records", "counter", "Records by what became of them.", ("pipeline", "outcome"))
    bypassed = Family("pipeframe_bypassed", "counter", "Of those delivered, that bypass steps.")
    fed = Family("pipeframe_fed", "counter", "Records fed, and those that fan-out added.")
    failures = Family("pipeframe_failures", "counter", "Failed records.", ("pipeline", "step", "kind", "error_type"))
    again = Family("pipeframe_retries", "counter", "Attempts after the first.")
    refused = Family("pipeframe_calls_rejected", "counter", "Calls refused with Overloaded.")
    lost = Family("pipeframe_logs_dropped", "counter", "Log lines of steps over the bound.")
    user = Family("pipeframe_user", "counter", "What steps count by count(name).", ("pipeline", "name"))
    for name, run in runs.items():
        counts = run.counts
        for outcome in OUTCOMES:
            records.add((name, outcome), getattr(counts, outcome))
        bypassed.add((name,), counts.bypassed)
        fed.add((name,), counts.fed + counts.emitted)
        for group in run.failures:
            failures.add((name, group.step, group.kind, group.error_type), group.count)
        again.add((name,), counts.retried)
        refused.add((name,), counts.calls_rejected)
        lost.add((name,), counts.logs_dropped)
        for counter, n in counts.counters.items():
            user.add((name, counter), n)
    yield from (records, bypassed, fed, failures, again, refused, lost, user)


def _gauges(runs: Mapping[str, RunStats], under_way: Mapping[str, RunStats]) -> Iterator[Family]:
    flying = Family("pipeframe_in_flight", "gauge", "Records without an outcome.")
    nbytes = Family("pipeframe_in_flight_bytes", "gauge", "Their bytes.")
    waiting = Family("pipeframe_calls_waiting", "gauge", "Calls that wait to be begun.")
    watermark = Family("pipeframe_watermark", "gauge", "Records from the start of the feed that are all final.")
    lag = Family("pipeframe_source_lag", "gauge", "Records that the server still has.")
    for name in runs:
        counts = under_way[name].counts if name in under_way else Stats()
        flying.add((name,), counts.in_flight)
        nbytes.add((name,), counts.in_flight_bytes)
        waiting.add((name,), counts.calls_waiting)
        if (run := under_way.get(name)) is not None and run.watermark is not None:
            watermark.add((name,), run.watermark)
        if counts.lag is not None:
            lag.add((name,), counts.lag)
    yield from (flying, nbytes, waiting, watermark, lag)


def _spreads(runs: Mapping[str, RunStats]) -> Iterator[Spread]:
    steps = Spread("pipeframe_step_seconds", "How long calls of a step take.", ("pipeline", "step"))
    queue = Spread("pipeframe_queue_seconds", "How long records wait between the feed and their first step.")
    batches = Spread("pipeframe_batch_records", "Records of a batch.")
    transfer = Spread(
        "pipeframe_transfer_seconds",
        "How long a batch takes to be made bytes of, and values of its results, in the parent.",
        ("pipeline", "direction"),
    )
    for name, run in runs.items():
        for step, histogram in zip(run.steps, run.step_seconds, strict=True):
            steps.add((name, step.name), histogram)
        queue.add((name,), run.queue_seconds)
        batches.add((name,), run.batch_records)
        transfer.add((name, "to_worker"), run.packing_seconds)
        transfer.add((name, "from_worker"), run.reading_seconds)
    yield from (steps, queue, batches, transfer)


def _of_workers(stats: Stats) -> Iterator[Family]:
    states = Counter(worker.state for worker in stats.workers)
    values: dict[Labels, float] = {(state,): states[state] for state in STATES}  # type: ignore[index]
    yield Family("pipeframe_workers", "gauge", "Workers by what they are at.", ("state",), values)
    causes = sum((Counter(worker.restarts) for worker in stats.workers), Counter[str]())
    restarts: dict[Labels, float] = {(cause,): n for cause, n in causes.items()}
    yield Family("pipeframe_worker_restarts", "counter", "Workers replaced, by cause.", ("cause",), restarts)
