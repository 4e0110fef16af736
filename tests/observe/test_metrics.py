"""Metrics: as named, read by the official client's own parsers, and of a frame's whole life."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from pipeframe_async._rules.timing import Spread
from pipeframe_async.observe.families import Seen
from pipeframe_async.observe.monitor.metrics import Metrics
from pipeframe_async.stats import FailureGroup, RunStats, Stats, StepReport, WorkerStats

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SPREAD = Spread()
for at in range(1, 2_000):
    SPREAD.add(at * 1_000_000)

RUN = RunStats(
    "Orders",
    counts=Stats(fed=100, delivered=90, bypassed=5, filtered=4, failed=3, in_flight=3, counters={"seen": 7}, lag=12),
    steps=(StepReport('pa"rse\n', "worker", 100, 1.0, 0.01, 0.01, 0.01),),
    step_seconds=(SPREAD.histogram(),),
    queue_seconds=SPREAD.histogram(),
    failures=(FailureGroup("parse", "raised", "Value\\Error", 3, 1.0),),
    watermark=88,
)
WORKERS = (
    WorkerStats("lane 0", "busy", restarts={"crashed": 2, "worn": 1}),
    WorkerStats("lane 1", "idle", restarts={"crashed": 1}),
)
NAMED = {
    "pipeframe_records_total",
    "pipeframe_failures_total",
    "pipeframe_in_flight",
    "pipeframe_in_flight_bytes",
    "pipeframe_step_seconds",
    "pipeframe_queue_seconds",
    "pipeframe_batch_records",
    "pipeframe_transfer_seconds",
    "pipeframe_workers",
    "pipeframe_worker_restarts_total",
    "pipeframe_watermark",
    "pipeframe_calls_rejected_total",
    "pipeframe_loop_lag_seconds",
    "pipeframe_user_total",
}


def families(stats: Stats, accept: str = "") -> dict[str, Metric]:
    text, content_type = Metrics(lambda: Seen(stats, SPREAD.histogram())).exposed(accept)
    assert ("openmetrics" in content_type) is bool(accept)
    parse = openmetrics if accept else prometheus
    return {family.name: family for family in parse(text.decode())}


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    (it,) = [
        each.value
        for family in found.values()
        for each in family.samples
        if each.name == sample and labels.items() <= each.labels.items()
    ]
    return it


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_all_that_are_named_are_there_in_both_formats(accept: str) -> None:
    found = families(Stats(runs=(RUN,), workers=WORKERS), accept)
    assert {name.removesuffix("_total") for name in NAMED} <= {name.removesuffix("_total") for name in found}
    assert value(found, "pipeframe_records_total", outcome="delivered", pipeline="Orders") == 90
    assert value(found, "pipeframe_failures_total", error_type="Value\\Error") == 3
    assert value(found, "pipeframe_step_seconds_count", step='pa"rse\n') == SPREAD.histogram().count
    assert value(found, "pipeframe_user_total", name="seen") == 7
    assert value(found, "pipeframe_workers", state="busy") == 1
    assert value(found, "pipeframe_worker_restarts_total", cause="crashed") == 3
    assert value(found, "pipeframe_watermark", pipeline="Orders") == 88
    assert value(found, "pipeframe_source_lag", pipeline="Orders") == 12


def test_records_by_outcome_add_up_to_all_that_are_final() -> None:
    found = families(Stats(runs=(RUN,)))
    assert sum(sample.value for sample in found["pipeframe_records"].samples) == 97


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_buckets_only_grow_and_the_last_has_all(accept: str) -> None:
    found = families(Stats(runs=(RUN,)), accept)
    buckets = [each for each in found["pipeframe_queue_seconds"].samples if each.name.endswith("_bucket")]
    values = [each.value for each in buckets]
    assert values == sorted(values)
    assert (buckets[-1].labels["le"], values[-1]) == ("+Inf", SPREAD.histogram().count)
    assert value(found, "pipeframe_queue_seconds_sum") == pytest.approx(SPREAD.sum / 1e9)


def test_counts_of_runs_that_have_ended_stay_and_what_is_in_flight_is_of_those_that_run() -> None:
    ended = replace(RUN, state="closed", number=0)
    found = families(Stats(runs=(ended, RUN), before=(ended,)))
    assert value(found, "pipeframe_records_total", outcome="delivered") == 270
    assert value(found, "pipeframe_in_flight") == 3
    assert value(families(Stats(runs=(ended,))), "pipeframe_in_flight") == 0


def test_before_anything_has_run_it_is_valid_too() -> None:
    assert value(families(Stats()), "pipeframe_workers", state="busy") == 0


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_steps_of_one_name_are_one_series(accept: str) -> None:
    step = StepReport("<lambda>", "worker", 100, 1.0, 0.01, 0.01, 0.01)
    twice = replace(RUN, steps=(step, step), step_seconds=(SPREAD.histogram(), SPREAD.histogram()))
    found = families(Stats(runs=(twice,)), accept)
    assert value(found, "pipeframe_step_seconds_count", step="<lambda>") == 2 * SPREAD.histogram().count


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_names_that_utf_8_cannot_write_are_escaped(accept: str) -> None:
    odd = "é\ud800\0"
    run = replace(RUN, pipeline=odd, counts=Stats(counters={odd: 7}))
    found = families(Stats(runs=(run,)), accept)
    assert value(found, "pipeframe_user_total", name="é\\ud800\0", pipeline="é\\ud800\0") == 7
