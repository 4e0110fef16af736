"""The same metrics for OpenTelemetry, where the program has a meter provider: looked at when its reader asks.

Histograms come as they are in Prometheus, as counters with `_bucket` (attribute `le`), `_count` and `_sum`: there is no
instrument that a ready histogram can be given to.

Process: the parent; called by the reader, in whatever thread that has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from pipeframe_async.observe.families import Family, Seen, Spread, families
from pipeframe_async.stats import Histogram, Stats

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

_shown: dict[object, Callable[[], Seen]] = {}  # by whoever shows a frame
_providers: WeakSet[Any] = WeakSet()  # that have our instruments


def asked() -> bool:
    """Whether the program has set up a meter provider."""
    return _provider() is not None


def begin(who: object, seen: Callable[[], Seen]) -> None:
    """Show a frame from now on."""
    if (provider := _provider()) is None:
        return
    _shown[who] = seen
    if provider not in _providers:
        _providers.add(provider)
        meter = provider.get_meter("pipeframe_async")
        for family in families(Seen(Stats(), Histogram())):
            for name, kind in _instruments(family):
                make = meter.create_observable_counter if kind == "counter" else meter.create_observable_gauge
                make(name, callbacks=[_observing(name)], description=family.said)


def end(who: object) -> None:
    """And no more."""
    _shown.pop(who, None)


def _provider() -> Any:
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is None:  # nobody can have set it up
        return None
    provider = metrics.get_meter_provider()
    return None if type(provider).__name__ in ("_ProxyMeterProvider", "NoOpMeterProvider") else provider


def _instruments(family: Family | Spread) -> list[tuple[str, str]]:
    if isinstance(family, Spread):
        return [(f"{family.name}_{part}", "counter") for part in ("bucket", "count", "sum")]
    return [(family.name, family.kind)]


def _observing(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        return [one for seen in [*_shown.values()] for one in _observed(name, seen())]

    return observe


def _observed(name: str, seen: Seen) -> Iterable[Observation]:
    from opentelemetry.metrics import Observation

    for family in families(seen):
        if isinstance(family, Family):
            if family.name == name:
                for labels, value in family.values.items():
                    yield Observation(value, dict(zip(family.labels, labels, strict=True)))
        elif name.startswith(family.name):
            for labels, histogram in family.values.items():
                named = dict(zip(family.labels, labels, strict=True))
                if name.endswith("_sum"):
                    yield Observation(histogram.sum, named)
                    continue
                yield Observation(histogram.count, {**named, **({"le": "+Inf"} if name.endswith("_bucket") else {})})
                if name.endswith("_bucket"):
                    for bound, count in zip(histogram.bounds, histogram.counts, strict=True):
                        yield Observation(count, {**named, "le": f"{bound:g}"})
