"""How many failures a run bears."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.budget import RATIO_FROM, FailureBudget

BATCHES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (pair[0], sum(pair))), min_size=1, max_size=30
)


def test_with_a_budget_of_none_the_first_failure_is_too_many() -> None:
    budget = FailureBudget(0)
    assert not budget.spend(0, 100)
    assert budget.spend(1, 1)


@given(st.integers(0, 200), BATCHES)
def test_a_count_is_exceeded_by_the_first_failure_above_it(limit: int, batches: list[tuple[int, int]]) -> None:
    budget, failed = FailureBudget(limit), 0
    for failures, seen in batches:
        failed += failures
        assert budget.spend(failures, seen) is (failed > limit)


@given(BATCHES)
def test_without_a_limit_any_number_is_borne(batches: list[tuple[int, int]]) -> None:
    budget = FailureBudget(None)
    assert not any(budget.spend(failures, seen) for failures, seen in batches)


@given(st.floats(0.001, 1.0), BATCHES)
def test_a_ratio_is_judged_on_all_records_so_far_but_not_before_the_first_200(
    limit: float, batches: list[tuple[int, int]]
) -> None:
    budget, failed, total = FailureBudget(limit), 0, 0
    for failures, seen in batches:
        failed, total = failed + failures, total + seen
        assert budget.spend(failures, seen) is (total >= RATIO_FROM and failed / total > limit)


def test_a_ratio_of_one_bears_a_run_in_which_everything_fails() -> None:
    assert not FailureBudget(1.0).spend(1_000, 1_000)


def test_one_as_a_count_is_not_one_as_a_ratio() -> None:
    assert FailureBudget(1).spend(2, 1_000)


@pytest.mark.parametrize(("seen", "stops"), [(199, False), (200, True)])
def test_early_failures_stop_a_run_only_once_a_ratio_means_something(seen: int, stops: bool) -> None:
    assert FailureBudget(0.1).spend(100, seen) is stops
