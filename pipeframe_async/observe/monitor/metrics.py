"""Metrics in the formats of Prometheus and OpenMetrics, made of the last snapshot when somebody asks.

One collector, in the parent: workers write no files, and one that has died leaves none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeframe_async._rules.merging import added, by_pipeline
from pipeframe_async.stats import Histogram, RunStats, Stats

OUTCOMES = ("delivered", "filtered", "failed", "aborted", "skipped")


class Seen(NamedTuple):
    """A snapshot, and by how much the turns of the loop came late."""

    stats: Stats
    lateness: Histogram


class Metrics:
    """The metrics of one frame.

    Args:
        seen: what there is to see of it now.
    """

    def __init__(self, seen: Callable[[], Seen]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(seen))

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """All of them as text, in the format that is asked for; and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Collector(Collector):
    def __init__(self, seen: Callable[[], Seen]) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        return map(_writable, self._all())

    def _all(self) -> Iterator[Metric]:
        stats, lateness = self._seen()
        runs = by_pipeline((*stats.before, *stats.runs))
        under_way = by_pipeline(run for run in stats.runs if run.state != "closed")
        yield from _counters(runs)
        yield from _gauges(runs, under_way)
        yield from _histograms(runs)
        yield from _of_workers(stats)
        lag = HistogramMetricFamily("pipeframe_loop_lag_seconds", "By how much turns of the event loop came late.")
        _add(lag, [], lateness)
        yield lag


def _writable(metric: Metric) -> Metric:
    """Names are the user's: UTF-8 cannot write all of them."""
    metric.samples = [
        sample._replace(labels={label: _text(value) for label, value in sample.labels.items()})
        for sample in metric.samples
    ]
    return metric


def _text(name: str) -> str:
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _counters(runs: dict[str, RunStats]) -> Iterator[Metric]:
    records = CounterMetricFamily(
        "pipeframe_records", "Records by what became of them.", labels=["pipeline", "outcome"]
    )
    bypassed = CounterMetricFamily("pipeframe_bypassed", "Of those delivered, that bypass steps.", labels=["pipeline"])
    fed = CounterMetricFamily("pipeframe_fed", "Records fed, and those that fan-out added.", labels=["pipeline"])
    failures = CounterMetricFamily(
        "pipeframe_failures", "Failed records.", labels=["pipeline", "step", "kind", "error_type"]
    )
    again = CounterMetricFamily("pipeframe_retries", "Attempts after the first.", labels=["pipeline"])
    refused = CounterMetricFamily("pipeframe_calls_rejected", "Calls refused with Overloaded.", labels=["pipeline"])
    lost = CounterMetricFamily("pipeframe_logs_dropped", "Lines of steps over the bound.", labels=["pipeline"])
    user = CounterMetricFamily("pipeframe_user", "What steps count by count(name).", labels=["pipeline", "name"])
    for name, run in runs.items():
        for outcome in OUTCOMES:
            records.add_metric([name, outcome], getattr(run.counts, outcome))
        bypassed.add_metric([name], run.counts.bypassed)
        fed.add_metric([name], run.counts.fed + run.counts.emitted)
        for group in run.failures:
            failures.add_metric([name, group.step, group.kind, group.error_type], group.count)
        again.add_metric([name], run.counts.retried)
        refused.add_metric([name], run.counts.calls_rejected)
        lost.add_metric([name], run.counts.logs_dropped)
        for counter, n in run.counts.counters.items():
            user.add_metric([name, counter], n)
    yield from (records, bypassed, fed, failures, again, refused, lost, user)


def _gauges(runs: dict[str, RunStats], under_way: dict[str, RunStats]) -> Iterator[Metric]:
    flying = GaugeMetricFamily("pipeframe_in_flight", "Records without an outcome.", labels=["pipeline"])
    nbytes = GaugeMetricFamily("pipeframe_in_flight_bytes", "Their bytes.", labels=["pipeline"])
    waiting = GaugeMetricFamily("pipeframe_calls_waiting", "Calls that wait to be begun.", labels=["pipeline"])
    watermark = GaugeMetricFamily(
        "pipeframe_watermark", "Records from the start of the feed that are all final.", labels=["pipeline"]
    )
    lag = GaugeMetricFamily("pipeframe_source_lag", "Records that the server still has.", labels=["pipeline"])
    for name in runs:
        counts = under_way[name].counts if name in under_way else Stats()
        flying.add_metric([name], counts.in_flight)
        nbytes.add_metric([name], counts.in_flight_bytes)
        waiting.add_metric([name], counts.calls_waiting)
        if (run := under_way.get(name)) is not None and run.watermark is not None:
            watermark.add_metric([name], run.watermark)
        if counts.lag is not None:
            lag.add_metric([name], counts.lag)
    yield from (flying, nbytes, waiting, watermark, lag)


def _histograms(runs: dict[str, RunStats]) -> Iterator[Metric]:
    steps = HistogramMetricFamily(
        "pipeframe_step_seconds", "How long calls of a step take.", labels=["pipeline", "step"]
    )
    queue = HistogramMetricFamily(
        "pipeframe_queue_seconds", "How long records wait between the feed and their first step.", labels=["pipeline"]
    )
    batches = HistogramMetricFamily("pipeframe_batch_records", "Records of a batch.", labels=["pipeline"])
    transfer = HistogramMetricFamily(
        "pipeframe_transfer_seconds",
        "How long a batch takes to be made bytes of, and values of its results, in the parent.",
        labels=["pipeline", "direction"],
    )
    for name, run in runs.items():
        for step, histogram in _by_name(run).items():
            _add(steps, [name, step], histogram)
        _add(queue, [name], run.queue_seconds)
        _add(batches, [name], run.batch_records)
        _add(transfer, [name, "to_worker"], run.packing_seconds)
        _add(transfer, [name, "from_worker"], run.reading_seconds)
    yield from (steps, queue, batches, transfer)


def _by_name(run: RunStats) -> dict[str, Histogram]:
    """Those of steps of one name together, as two lambdas are: a series is there once."""
    together: dict[str, Histogram] = {}
    for step, seconds in zip(run.steps, run.step_seconds, strict=True):
        together[step.name] = added(together[step.name], seconds) if step.name in together else seconds
    return together


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    if histogram.bounds:
        buckets = [(f"{bound:g}", count) for bound, count in zip(histogram.bounds, histogram.counts, strict=True)]
        family.add_metric(labels, [*buckets, ("+Inf", histogram.count)], histogram.sum)


def _of_workers(stats: Stats) -> Iterator[Metric]:
    states = Counter(worker.state for worker in stats.workers)
    workers = GaugeMetricFamily("pipeframe_workers", "Workers by what they are at.", labels=["state"])
    for state in ("busy", "idle", "starting", "restarting", "stopped"):
        workers.add_metric([state], states[state])
    restarts = CounterMetricFamily("pipeframe_worker_restarts", "Workers replaced, by cause.", labels=["cause"])
    causes = sum((Counter(worker.restarts) for worker in stats.workers), Counter[str]())
    for cause, n in causes.items():
        restarts.add_metric([cause], n)
    yield from (workers, restarts)
