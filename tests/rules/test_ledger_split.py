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


WRONG = st.lists(st.integers(-3, 12), max_size=6).filter(lambda counts: sum(counts) != 10 or min(counts) < 1)


def books(ledger: Ledger) -> tuple[object, ...]:
    return ledger.stats(elapsed=0.0, worker_restarts=0), ledger.room, ledger.room_bytes, ledger.peak_bytes


@given(WRONG, st.integers(0, 1000))
def test_after_any_wrong_split_the_books_are_as_before(counts: list[int], nbytes: int) -> None:
    ledger = opened(10, nbytes)
    ledger.open(13, 2, 7)
    before = books(ledger)
    for first, message in ((3, "batch 3 of 10 records split into"), (4, "batch 4 is not open")):
        with pytest.raises(InternalError, match=message):
            ledger.split(first, counts)
        assert books(ledger) == before
        ledger.audit()
    ledger.settle(3, Outcome(filtered=10))
    assert ledger.in_flight_bytes == 7
    ledger.settle(13, Outcome(failed=2))
    ledger.audit()


@given(COUNTS, st.integers(0, 10_000), st.data())
def test_parts_can_be_split_again_and_charged_by_themselves(
    counts: list[int], nbytes: int, data: st.DataObject
) -> None:
    ledger = opened(sum(counts), nbytes)
    ledger.open(3 + sum(counts), 5, 11)  # the one after it is not touched
    ledger.split(3, counts)
    number = data.draw(st.integers(0, len(counts) - 1))
    first, count = 3 + sum(counts[:number]), counts[number]
    ledger.split(first, [1] * count)
    ledger.audit()
    assert ledger.in_flight_bytes == nbytes + 11
    before = ledger.in_flight_bytes
    ledger.charge(first, 0)
    share = before - ledger.in_flight_bytes
    assert 0 <= share <= nbytes
    ledger.charge(first, 50)
    assert ledger.in_flight_bytes == before - share + 50
    ledger.abort_rest()
    ledger.audit(final=True)
    assert ledger.total.aborted == sum(counts) + 5


def test_a_share_goes_by_the_number_of_records() -> None:
    ledger = opened(10, 100)
    ledger.split(3, [1, 2, 7])
    for first, count, left in ((3, 1, 90), (6, 7, 20), (4, 2, 0)):
        ledger.settle(first, Outcome(delivered=count))
        assert ledger.in_flight_bytes == left


def test_a_split_takes_no_permits_and_its_parts_go_by_their_first_records() -> None:
    ledger = opened(10, 100)
    before = books(ledger)
    ledger.split(3, [4, 6])
    assert books(ledger) == before
    with pytest.raises(InternalError, match="batch 3 of 4 records settled as"):
        ledger.settle(3, Outcome(delivered=10))
    ledger.settle(7, Outcome(delivered=6))
    ledger.settle(3, Outcome(delivered=4))
    ledger.audit()
