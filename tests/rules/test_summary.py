"""From the counters of a run to its report."""

from __future__ import annotations

from dataclasses import asdict

from pipeframe_async._rules.bottleneck import Usage
from pipeframe_async._rules.summary import summary
from pipeframe_async.stats import Stats, StepReport


def test_a_report_has_every_counter_of_the_run_and_says_what_bounded_it() -> None:
    stats = Stats(
        fed=9,
        emitted=4,
        delivered=6,
        bypassed=2,
        filtered=3,
        failed=1,
        aborted=3,
        retried=7,
        re_executed=8,
        worker_restarts=5,
        elapsed=2.5,
    )
    step = StepReport("parse", "worker", 9, 0.1, 0.01, 0.01, 0.01)
    report = summary(stats, [step], Usage(2.5, 0.0, 0.0, 0.0, 1, 0.1, feeding=2.0, setup=0.2), "idle")
    counters = asdict(report)
    assert {name: value for name, value in asdict(stats).items() if name in counters} == {
        name: counters[name] for name in asdict(stats) if name in counters
    }
    assert (report.ended_by, report.steps) == ("idle", (step,))
    assert report.bottleneck.startswith("Bottleneck: the feed")
    assert report.setup == 0.2
