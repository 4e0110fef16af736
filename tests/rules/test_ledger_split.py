"""A batch that is split is as many records and bytes as before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.ledger import Ledger, Outcome
from pipeframe_async.errors import InternalError

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=20)


def opened(records: int, nbytes: int) -> Ledger:
    ledger = Ledger(10_000, 2**30)
    ledger.admit(records + 5)
    ledger.open(3, records, nbytes)
    return ledger


@given(COUNTS, st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_parts_of_a_split_have_all_its_records_and_bytes(counts: list[int], nbytes: int, random: object) -> None:
    ledger = opened(sum(counts), nbytes)
    ledger.split(3, counts)
    ledger.audit()
    assert ledger.in_flight_bytes == nbytes
    parts = [(3 + sum(counts[:number]), count) for number, count in enumerate(counts)]
    random.shuffle(parts)  # type: ignore[attr-defined]
    for first, count in parts:
        ledger.settle(first, Outcome(delivered=count))
        ledger.audit()
    assert (ledger.in_flight, ledger.in_flight_bytes) == (5, 0)
    assert ledger.total.delivered == sum(counts)


@pytest.mark.parametrize("counts", [[5], [4, 7], [10, 0], [11, -1], [5, 5, 5]])
def test_a_split_into_something_else_is_an_error_of_ours_and_changes_nothing(counts: list[int]) -> None:
    ledger = opened(10, 100)
    with pytest.raises(InternalError, match="batch 3 of 10 records split into"):
        ledger.split(3, counts)
    ledger.settle(3, Outcome(delivered=10))
    ledger.audit()


def test_a_batch_that_is_not_open_cannot_be_split() -> None:
    with pytest.raises(InternalError, match="batch 4 is not open"):
        opened(10, 100).split(4, [5, 5])
