"""Whether a chain is run in worker processes or beside the loop."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.worth import ENOUGH_BATCHES, ENOUGH_SECONDS, Cost, Worth

CHEAP = Cost(10, work=0.001, worker=0.004, parent=0.002)
HEAVY = Cost(10, work=0.100, worker=0.004, parent=0.002)


def told(worth: Worth, cost: Cost, batches: int = 3 * ENOUGH_BATCHES) -> list[bool]:
    """Tell it of batches of one kind, each run where it says; where it said the next one goes, after each."""
    said = []
    for _ in range(batches):
        worth.ran(cost if not worth.beside else Cost(cost.records, cost.work), beside=worth.beside)
        said.append(worth.beside)
    return said


def test_a_chain_whose_transport_costs_more_than_its_work_goes_beside_the_loop() -> None:
    assert told(Worth(2), CHEAP)[-1]


def test_a_chain_that_is_worth_its_way_stays_in_its_processes() -> None:
    assert not any(told(Worth(2), HEAVY))


def test_the_first_batches_are_always_run_in_processes() -> None:
    said = told(Worth(2), CHEAP)
    assert said.index(True) == ENOUGH_BATCHES - 1


def test_batches_that_cost_next_to_nothing_are_no_evidence() -> None:
    tiny = ENOUGH_SECONDS / 100
    said = told(Worth(2), Cost(10, work=tiny / 10, worker=tiny / 2, parent=tiny / 2))
    assert not any(said)


def test_records_that_turn_heavy_go_back_and_such_as_turn_cheap_again_come_again() -> None:
    worth = Worth(2)
    assert told(worth, CHEAP)[-1]
    assert not told(worth, HEAVY)[-1]
    assert told(worth, CHEAP, 10 * ENOUGH_BATCHES)[-1]


def test_answers_that_still_come_from_the_place_that_was_left_do_not_count() -> None:
    worth = Worth(2)
    told(worth, CHEAP, ENOUGH_BATCHES)
    assert worth.beside
    for _ in range(3 * ENOUGH_BATCHES):
        worth.ran(HEAVY, beside=False)
    assert worth.beside


def test_many_workers_that_share_the_work_are_kept_where_one_thread_would_be_slower() -> None:
    cost = Cost(10, work=0.006, worker=0.009, parent=0.001)
    assert told(Worth(1), cost)[-1]
    assert not any(told(Worth(8), cost))


def test_with_a_single_worker_heavy_records_go_back_too() -> None:
    worth = Worth(1)
    told(worth, CHEAP)
    assert not told(worth, HEAVY)[-1]


def test_empty_batches_tell_nothing() -> None:
    worth = Worth(2)
    assert not any(told(worth, Cost(0, 0.0, 1.0, 1.0)))


seconds = st.floats(0, 10)


@given(
    st.integers(1, 64),
    st.builds(Cost, records=st.integers(1, 5000), work=seconds, worker=seconds, parent=seconds),
    st.integers(1, 200),
)
def test_records_that_all_cost_the_same_move_their_chain_once_at_most(workers: int, cost: Cost, batches: int) -> None:
    said = [False, *told(Worth(workers), cost, batches)]
    assert sum(before is not after for before, after in pairwise(said)) <= 1
