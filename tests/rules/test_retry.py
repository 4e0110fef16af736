"""Which failures are worth another attempt, and how long it waits."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.retry import Retrying
from pipeframe_async.errors import WorkerLost
from pipeframe_async.pipeline_engine import Retry

WHOLE = lambda: 1.0  # noqa: E731


@given(
    st.integers(2, 30),
    st.floats(0, 10),
    st.floats(1, 10),
    st.floats(0, 1000),
    st.floats(0, 1, exclude_max=True),
    st.booleans(),
)
def test_a_delay_grows_by_its_factor_up_to_the_longest(
    attempts: int, backoff: float, factor: float, more: float, drawn: float, jitter: bool
) -> None:
    retry = Retry(attempts, backoff=backoff, factor=factor, max_backoff=backoff + more, jitter=jitter)
    retrying = Retrying(retry, lambda: drawn)
    for tried in range(1, attempts):
        delay = retrying.delay(tried)
        assert delay is not None
        whole = min(backoff * factor ** (tried - 1), backoff + more)
        assert delay == pytest.approx(whole * (1 + drawn) / 2 if jitter else whole)
    assert retrying.delay(attempts) is None
    assert retrying.delay(attempts + 1) is None


def test_no_number_of_attempts_is_too_large() -> None:
    began = time.perf_counter()
    assert Retrying(Retry(10**9, factor=1e300, max_backoff=30), WHOLE).delay(10**9 - 1) == 30
    assert Retrying(Retry(10**9, backoff=0.0), WHOLE).delay(10**9 - 1) == 0
    assert Retrying(Retry(10**9, factor=1.0), WHOLE).delay(10**9 - 1) == pytest.approx(0.1)
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    ("kind", "on", "matched", "worth"),
    [
        ("raised", (ValueError,), True, True),
        ("raised", (ValueError,), False, False),
        ("timeout", (Exception,), False, True),
        ("timeout", (OSError,), False, True),  # a TimeoutError is one
        ("timeout", (ValueError,), True, False),
        ("crashed", (Exception,), False, True),
        ("crashed", (WorkerLost,), False, True),
        ("crashed", (OSError,), True, False),
        ("unpicklable", (Exception,), False, False),
    ],
)
def test_a_failure_is_worth_it_by_its_kind(kind: Any, on: Any, matched: bool, worth: bool) -> None:
    assert Retrying(Retry(2, on=on), WHOLE).worth(kind, matched=matched) is worth


@given(
    st.integers(1, 10**9),
    st.one_of(st.just(0.0), st.floats(1e-9, 1e9)),
    st.one_of(st.just(1.0), st.floats(1.1, 1e308)),
    st.floats(0, 1e300),
)
def test_however_long_it_goes_on_a_delay_is_between_the_first_and_the_longest(
    tried: int, backoff: float, factor: float, more: float
) -> None:
    longest = backoff + more
    retry = Retry(10**9 + 1, backoff=backoff, factor=factor, max_backoff=longest, jitter=False)
    delay = Retrying(retry, WHOLE).delay(tried)
    assert delay is not None
    assert math.isfinite(delay)
    assert backoff <= delay <= longest
    if tried > 2**20 and backoff and factor > 1:
        assert delay == longest


@pytest.mark.parametrize(("drawn", "share"), [(0.0, 0.5), (0.5, 0.75), (math.nextafter(1, 0), 1.0)])
def test_jitter_leaves_between_half_of_a_delay_and_the_whole(drawn: float, share: float) -> None:
    retrying = Retrying(Retry(9, backoff=4.0, factor=3.0, max_backoff=30.0), lambda: drawn)
    delays = [retrying.delay(tried) for tried in range(1, 5)]
    assert delays == pytest.approx([whole * share for whole in (4.0, 12.0, 30.0, 30.0)])
    assert all(delay <= 30.0 for delay in delays if delay is not None)


def test_each_delay_is_drawn_anew() -> None:
    numbers = iter([0.0, 0.5])
    retrying = Retrying(Retry(9, backoff=4.0), lambda: next(numbers))
    assert [retrying.delay(1), retrying.delay(1)] == [2.0, 3.0]


def test_without_jitter_nothing_is_drawn() -> None:
    def never() -> float:
        raise AssertionError("a number was drawn")

    assert Retrying(Retry(3, backoff=4.0, jitter=False), never).delay(1) == 4.0


@pytest.mark.parametrize(
    ("error", "matches"), [(OSError(), True), (ConnectionError(), True), (ValueError(), False), (Exception(), False)]
)
def test_what_was_raised_matches_by_its_class_or_one_above_it(error: Exception, matches: bool) -> None:
    assert Retrying(Retry(2, on=(OSError, KeyError)), WHOLE).matches(error) is matches
