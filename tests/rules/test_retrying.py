"""Which failures are worth another attempt, and how long it waits."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.retry import Retrying
from pipeframe_async.errors import WorkerLost
from pipeframe_async.pipeline import Retry

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
