"""Figures over several turns: percentiles, and their spread."""

from __future__ import annotations

import pytest

from benchmarks.asking.question import Spread, percentile


@pytest.mark.parametrize(("hundredths", "value"), [(50, 50.0), (99, 99.0)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(hundredths: int, value: float) -> None:
    assert percentile([float(n) for n in range(101)], hundredths) == value
    assert percentile([7.0], hundredths) == 7.0


def test_a_spread_has_the_median_between_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert Spread.of([3.0, 1.0, 2.0]).words(10, 0) == "20 (10 – 30)"
    assert Spread.of([1.0]).words() == "1.00"
