"""Runs of one pipeline together: counts only grow, whatever ends and is forgotten."""

from __future__ import annotations

from dataclasses import replace

from pipeframe_async._rules.failure_groups import MOST_GROUPS
from pipeframe_async._rules.merging import MOST_PIPELINES, by_pipeline, merged, remembered
from pipeframe_async.counting import MOST_NAMES
from pipeframe_async.stats import FailureGroup, Histogram, RunStats, Stats, StepReport

SPREAD = Histogram((1.0, 2.0), (3.0, 4.0), 5.0, 6.0, 1.0, 2.0)
STEP = StepReport("parse", "worker", 5, 1.0, 0.2, 0.1, 0.3)
RUN = RunStats(
    "Orders",
    number=1,
    began=10.0,
    counts=Stats(fed=5, delivered=4, failed=1, elapsed=2.0, counters={"seen": 5}),
    steps=(STEP,),
    step_seconds=(SPREAD,),
    queue_seconds=SPREAD,
    failures=(FailureGroup("parse", "raised", "ValueError", 1, 11.0, "first"),),
)


def test_what_is_counted_is_summed_and_the_rest_is_of_the_later_run() -> None:
    later = replace(
        RUN,
        number=2,
        began=20.0,
        state="closed",
        failures=(FailureGroup("parse", "raised", "ValueError", 2, 21.0, "b"),),
    )
    both = merged(RUN, later)
    assert (both.number, both.state, both.began) == (2, "closed", 10.0)
    assert (both.counts.fed, both.counts.failed, both.counts.counters) == (10, 2, {"seen": 10})
    assert both.steps == (replace(STEP, calls=10, seconds=2.0),)
    assert both.step_seconds == (Histogram((1.0, 2.0), (6.0, 8.0), 10.0, 12.0, 1.0, 2.0),)
    assert both.failures == (FailureGroup("parse", "raised", "ValueError", 3, 21.0, "first"),)


def test_histograms_of_runs_that_measured_nothing_leave_the_others_as_they_are() -> None:
    assert merged(replace(RUN, queue_seconds=Histogram()), RUN).queue_seconds == SPREAD
    assert merged(RUN, replace(RUN, queue_seconds=Histogram())).queue_seconds == SPREAD


def test_steps_that_were_changed_between_two_runs_are_all_there_the_later_ones_first() -> None:
    price = replace(STEP, name="price")
    other = replace(RUN, steps=(price, STEP), step_seconds=(SPREAD, SPREAD))
    both = merged(RUN, other)
    assert [(step.name, step.calls) for step in both.steps] == [("price", 5), ("parse", 10)]
    assert [histogram.count for histogram in both.step_seconds] == [5.0, 10.0]
    again = merged(both, RUN)
    assert [(step.name, step.calls) for step in again.steps] == [("parse", 15), ("price", 5)]


def test_steps_of_one_name_stay_apart_by_their_order() -> None:
    twice = replace(RUN, steps=(STEP, replace(STEP, calls=1)), step_seconds=(SPREAD, SPREAD))
    assert [step.calls for step in merged(twice, twice).steps] == [10, 2]
    assert [step.calls for step in merged(twice, RUN).steps] == [10, 1]


def test_counters_of_many_runs_are_no_more_than_those_of_one() -> None:
    def many(number: int) -> RunStats:
        return replace(RUN, counts=Stats(counters={f"{number}-{n}": 1 for n in range(MOST_NAMES)}))

    counters = merged(many(1), many(2)).counts.counters
    assert len(counters) == MOST_NAMES + 1
    assert (counters["1-999"], counters[""]) == (1, MOST_NAMES)


def test_of_runs_that_are_forgotten_no_more_pipelines_are_told_apart_than_may_be() -> None:
    before: dict[str, RunStats] = {}
    for number in range(MOST_PIPELINES + 20):
        before = remembered(before, replace(RUN, pipeline=f"P{number}"))
    before = remembered(before, replace(RUN, pipeline="P3"))
    assert len(before) == MOST_PIPELINES + 1
    assert (before["P3"].counts.fed, before[""].counts.fed) == (10, 100)


def test_pipelines_stay_apart() -> None:
    together = by_pipeline([RUN, replace(RUN, pipeline="Other"), RUN])
    assert {name: run.counts.fed for name, run in together.items()} == {"Orders": 10, "Other": 5}


def test_groups_of_many_runs_are_no_more_than_those_of_one() -> None:
    def many(number: int) -> RunStats:
        groups = (FailureGroup("parse", "raised", f"Error{number}-{n}", 1, 1.0) for n in range(MOST_GROUPS))
        return replace(RUN, failures=tuple(groups))

    both = merged(many(1), many(2))
    assert len(both.failures) <= MOST_GROUPS + 1
    assert sum(group.count for group in both.failures) == 2 * MOST_GROUPS
