"""Worker seconds of a lane's batches: each alone what it took, and all together what the workers have worked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.occupancy import Occupancy


def test_a_batch_alone_has_the_time_it_was_there() -> None:
    lane = Occupancy()
    began = lane.came(10.0, 1)
    assert lane.went(12.5, 1) - began == pytest.approx(2.5)
    again = lane.came(100.0, 1)
    assert lane.went(101.0, 1) - again == pytest.approx(1.0)


def test_two_of_one_worker_share_it_and_two_of_two_do_not() -> None:
    for workers, each in ((1, 1.0), (2, 2.0)):
        lane = Occupancy()
        one, two = lane.came(0.0, workers), lane.came(0.0, workers)
        assert lane.went(2.0, workers) - one == pytest.approx(each)
        assert lane.now(2.0, workers) - two == pytest.approx(each)
        assert lane.batches == 1


@given(st.integers(1, 3), st.lists(st.tuples(st.floats(0.0, 5.0), st.booleans()), max_size=40))
def test_together_they_have_what_the_workers_have_worked(workers: int, events: list[tuple[float, bool]]) -> None:
    lane, began, had, worked, time = Occupancy(), list[float](), 0.0, 0.0, 0.0
    for after, comes in [*events, *[(1.0, False)] * len(events)]:
        worked += after * min(workers, len(began))
        time += after
        if comes:
            began.append(lane.came(time, workers))
        elif began:
            had += lane.went(time, workers) - began.pop()
    while began:
        had += lane.went(time, workers) - began.pop()
    assert had == pytest.approx(worked)
