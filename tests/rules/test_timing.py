"""Step times: sums are exact, quantiles within an eighth."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.timing import StepClock, bucket, gather, middle
from pipeframe_async.stats import StepReport
from pipeframe_async.wire import StepTimes

DURATIONS = st.one_of(st.integers(0, 40), st.integers(0, 10**6), st.integers(0, 10**13))


def all_timed(samples: list[int]) -> StepTimes:
    return StepTimes(len(samples), len(samples), sum(samples), tuple(samples), most_ns=max(samples, default=0))


@given(DURATIONS)
def test_the_middle_of_a_bucket_is_within_an_eighth_of_all_that_is_in_it(ns: int) -> None:
    assert abs(middle(bucket(ns)) - ns) <= ns / 8


@given(DURATIONS, DURATIONS)
def test_buckets_keep_the_order_of_durations(one: int, other: int) -> None:
    shorter, longer = sorted([one, other])
    assert middle(bucket(shorter)) <= middle(bucket(longer))


@given(st.lists(DURATIONS, min_size=1, max_size=300))
def test_quantiles_are_within_an_eighth_of_the_true_ones(samples: list[int]) -> None:
    clock = StepClock("parse", "worker")
    clock.add(all_timed(samples))
    report = clock.report()
    for q, measured in ((0.50, report.p50), (0.99, report.p99)):
        true = sorted(samples)[ceil(q * len(samples)) - 1] / 1e9
        assert measured == pytest.approx(true, rel=1 / 8, abs=1e-12)
        assert measured <= report.max


@given(st.lists(st.lists(DURATIONS, max_size=50), max_size=8))
def test_batches_merged_give_what_one_batch_would(batches: list[list[int]]) -> None:
    merged, whole = StepClock("s", "worker"), StepClock("s", "worker")
    for batch in batches:
        merged.add(all_timed(batch))
    everything = [ns for batch in batches for ns in batch]
    whole.add(all_timed(everything))
    assert merged.report() == whole.report()
    assert merged.report().calls == len(everything)
    assert merged.report().seconds == pytest.approx(sum(everything) / 1e9, rel=1e-12)


def test_where_some_calls_were_timed_the_sum_is_what_they_suggest() -> None:
    clock = StepClock("parse", "worker")
    clock.add(StepTimes(calls=1_000, timed=10, timed_ns=5_000, samples=(500,) * 10))
    report = clock.report()
    assert report.calls == 1_000
    assert report.mean == pytest.approx(500e-9)
    assert report.seconds == pytest.approx(500e-6)


def test_a_slow_batch_that_was_timed_in_full_counts_for_its_own_calls_only() -> None:
    clock = StepClock("parse", "worker")
    clock.add(StepTimes(calls=10, timed=10, timed_ns=10_000_000, samples=(1_000_000,) * 10))
    clock.add(StepTimes(calls=990, timed=1, timed_ns=1_000, samples=(1_000,)))
    assert clock.report().seconds == pytest.approx((10 * 1_000_000 + 990 * 1_000) / 1e9)


def test_a_step_never_called_has_zeros_and_its_name() -> None:
    clock = StepClock("parse", "worker")
    clock.add(StepTimes(0, 0, 0, ()))
    assert clock.report() == StepReport("parse", "worker", 0, 0.0, 0.0, 0.0, 0.0)


def test_calls_that_were_not_timed_are_counted_all_the_same() -> None:
    clock = StepClock("parse", "worker")
    clock.add(StepTimes(7, 0, 0, ()))
    assert (clock.report().calls, clock.report().seconds) == (7, 0.0)


def test_a_reply_is_gathered_step_by_step() -> None:
    clocks = [StepClock("a", "worker"), StepClock("b", "worker")]
    gather(clocks, [StepTimes(3, 0, 0, ()), StepTimes(2, 0, 0, ())], int)
    assert [clock.report().calls for clock in clocks] == [3, 2]


def test_a_reply_of_another_chain_is_not_gathered_in_silence() -> None:
    with pytest.raises(ValueError, match="shorter"):
        gather([StepClock("a", "worker"), StepClock("b", "worker")], [StepTimes(1, 0, 0, ())], int)


def test_one_slow_record_that_was_timed_does_not_stand_for_the_others() -> None:
    clock, other = StepClock("slow", "worker"), StepClock("fast", "worker")
    slow = StepTimes(1_000, 5, 500_004_000, (1_000, 1_000, 500_000_000, 1_000, 1_000), 500_000_000, 7)
    gather([clock, other], [slow, StepTimes(1_000, 5, 5_000, (1_000,) * 5, 1_000, 7)], int, 0.502)
    report = clock.report()
    assert 0.5 <= report.seconds <= 0.502
    assert report.p50 == report.p99 == pytest.approx(1e-6, rel=0.13)
    assert (report.max, report.slowest) == (0.5, 7)
    assert report.seconds + other.report().seconds <= 0.502 + 1e-9


def test_where_all_fits_nothing_is_taken_off() -> None:
    for wall in (0.0, 0.0011, 5.0):
        clock = StepClock("step", "worker")
        gather([clock], [StepTimes(1_000, 10, 10_000, (1_000,) * 10, 1_000)], int, wall)
        assert clock.report().seconds == pytest.approx(0.001)
