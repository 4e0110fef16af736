"""An OpenTelemetry meter has the metrics that Prometheus has, name by name and value by value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.metrics", reason="has a reader that can be looked at")

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pipeframe_async import PipeFrame, PipelineEngine, count
from pipeframe_async.observe.families import Family, Seen, families
from pipeframe_async.stats import Histogram

pytestmark = pytest.mark.process


def counted(record: int) -> tuple[int, bool]:
    count("seen")
    if record % 10 == 3:
        raise ValueError(record)
    return record, True


class Orders(PipelineEngine[int, int]):
    max_failures = None
    steps = (counted,)

    async def feed(self) -> Any:
        for record in range(100):
            yield record


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", provider)
    yield reader
    provider.shutdown()


def values_of(reader: InMemoryMetricReader) -> dict[tuple[str, frozenset[Any]], float]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        (metric.name, frozenset((point.attributes or {}).items())): point.value  # type: ignore[union-attr]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


async def test_a_reader_finds_what_a_scrape_would(reader: InMemoryMetricReader) -> None:
    async with PipeFrame(1) as frame:
        await frame.run(Orders)
        frame._watching._pulse._see()  # the last look may be half a second old
        found = values_of(reader)
        expected = [family for family in families(Seen(frame.stats(), Histogram())) if isinstance(family, Family)]
        for family in expected:
            for labels, value in family.values.items():
                key = family.name, frozenset(zip(family.labels, labels, strict=True))
                assert found[key] == value, key
        assert found["pipeframe_user", frozenset({"pipeline": "Orders", "name": "seen"}.items())] == 100
        step = {"pipeline": "Orders", "step": "counted"}
        assert found["pipeframe_step_seconds_count", frozenset(step.items())] == pytest.approx(100)
        assert found["pipeframe_step_seconds_bucket", frozenset({**step, "le": "+Inf"}.items())] == pytest.approx(100)
        assert found["pipeframe_step_seconds_sum", frozenset(step.items())] > 0
    assert values_of(reader) == {}


async def test_several_frames_one_after_the_other_make_their_instruments_once(
    reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await PipeFrame(1, executor="inline").run(Orders)
    assert not [record for record in caplog.records if "instrument" in record.getMessage()]


async def test_without_a_meter_provider_nobody_looks() -> None:
    async with PipeFrame(1, executor="inline") as frame:
        await frame.run(Orders)
        assert not frame._watching._pulse.beats
