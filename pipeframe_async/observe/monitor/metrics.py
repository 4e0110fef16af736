"""Metrics in the formats of Prometheus and OpenMetrics, made of the last snapshot when somebody asks.

One collector, in the parent: workers write no files, and one that has died leaves none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeframe_async.observe.families import Family, Seen, Spread, families


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
        return map(_metric, families(self._seen()))


def _metric(family: Family | Spread) -> Metric:
    if isinstance(family, Spread):
        histograms = HistogramMetricFamily(family.name, family.said, labels=family.labels)
        for labels, histogram in family.values.items():
            below = [(f"{bound:g}", count) for bound, count in zip(histogram.bounds, histogram.counts, strict=True)]
            histograms.add_metric(labels, [*below, ("+Inf", histogram.count)], histogram.sum)
        return histograms
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: CounterMetricFamily | GaugeMetricFamily = kind(family.name, family.said, labels=family.labels)
    for labels, value in family.values.items():
        metric.add_metric(labels, value)
    return metric
