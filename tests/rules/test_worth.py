"""Whether a chain is run in worker processes or beside the loop."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.worth import ENOUGH_BATCHES, ENOUGH_SECONDS, GAIN, TURNED, At, Cost, Worth

WORKERS, BESIDE, THREADS = At
CHEAP = Cost(10, work=0.001, worker=0.004, parent=0.002)
HEAVY = Cost(10, work=0.100, worker=0.004, parent=0.002)


def told(worth: Worth, cost: Cost, batches: int = 3 * ENOUGH_BATCHES) -> list[bool]:
    """Tell it of batches of one kind, each run where it says; where it said the next one goes, after each."""
    said = []
    for _ in range(batches):
        here = cost if worth.at is At.WORKERS else Cost(cost.records, cost.work)
        worth.ran(here, worth.at)
        said.append(worth.at is At.BESIDE)
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
    assert worth.at is At.BESIDE
    for _ in range(3 * ENOUGH_BATCHES):
        worth.ran(HEAVY, At.WORKERS)
    assert worth.at is At.BESIDE


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


# Threads without a GIL, two of them, beside two workers.


def costs(work: float, moving: float, threads: float) -> dict[At, Cost]:
    """Of ten records at each place: seconds of work, seconds for moving them, and what they take in a thread."""
    return {
        At.WORKERS: Cost(10, work, moving / 2, moving / 2, wall=work + moving / 2),
        At.BESIDE: Cost(10, work, wall=work),
        At.THREADS: Cost(10, threads, wall=threads),
    }


def gone(worth: Worth, there: dict[At, Cost], batches: int = 6 * ENOUGH_BATCHES) -> list[At]:
    """The places that such batches are run at, one after the other."""
    said = [worth.at]
    for _ in range(batches):
        worth.ran(there[worth.at], worth.at)
        if worth.at is not said[-1]:
            said.append(worth.at)
    return said


TRIALS = {
    "as fast in threads: stays there": (costs(0.010, 0.012, threads=0.010), [WORKERS, THREADS]),
    "several times slower there: back, and never again": (
        costs(0.010, 0.012, threads=0.040),
        [WORKERS, THREADS, WORKERS],
    ),
    "hardly faster there: isolation is worth more": (costs(0.010, 0.012, threads=0.015), [WORKERS, THREADS, WORKERS]),
    "moving is next to nothing: not worth a trial": (costs(0.010, 0.001, threads=0.010), [WORKERS]),
    "moving is most of it: one thread, then all": (costs(0.002, 0.012, threads=0.002), [*At]),
    "one thread is faster than two": (costs(0.002, 0.012, threads=0.009), [WORKERS, BESIDE, THREADS, BESIDE]),
}


@pytest.mark.parametrize(("there", "places"), TRIALS.values(), ids=TRIALS)
def test_threads_are_tried_where_they_may_be_worth_it_and_kept_where_they_were_measured_to_be(
    there: dict[At, Cost], places: list[At]
) -> None:
    assert gone(Worth(2, threads=2), there) == places


def test_where_there_is_a_gil_threads_are_never_tried() -> None:
    for there, _ in TRIALS.values():
        assert THREADS not in gone(Worth(2), there)


def test_what_threads_were_found_to_take_is_told() -> None:
    worth = Worth(2, threads=2)
    assert worth.slower is None
    gone(worth, costs(0.010, 0.012, threads=0.040))
    assert worth.slower == pytest.approx(0.040 / 0.016)


def test_a_trial_is_no_longer_than_it_takes_to_tell() -> None:
    worth, there = Worth(2, threads=2), costs(0.010, 0.012, threads=0.040)
    ran = 0
    for _ in range(100):
        ran += worth.at is THREADS
        worth.ran(there[worth.at], worth.at)
    assert ran == ENOUGH_BATCHES


def test_records_that_turn_slow_in_threads_are_measured_anew_where_they_came_from() -> None:
    worth = Worth(2, threads=2)
    gone(worth, costs(0.010, 0.012, threads=0.010))
    heavy = costs(0.020 * TURNED, 0.012, threads=0.020 * TURNED)
    assert gone(worth, heavy)[:2] == [THREADS, WORKERS]


@given(
    st.integers(1, 64),
    st.floats(1e-4, 10),
    st.floats(1e-4, 10),
    st.floats(1e-4, 10),
)
def test_records_that_all_cost_the_same_come_to_rest_where_they_take_least_of_what_was_tried(
    workers: int, work: float, moving: float, threads: float
) -> None:
    worth, there = Worth(workers, threads=workers), costs(work, moving, threads)
    places = gone(worth, there, 300)
    assert len(places) <= 4
    assert gone(worth, there) == [places[-1]]
    if places[-1] is THREADS:
        assert worth.slower is not None
        assert worth.slower <= GAIN
