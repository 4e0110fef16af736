"""Who of the lanes has something to do, of all runs that share them."""

from __future__ import annotations

from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async.testing import FakeExecutor


def test_a_lane_is_busy_when_all_its_workers_have_a_batch() -> None:
    executor = FakeExecutor(2)
    workforce = Workforce(executor)
    first, second = executor.lanes
    assert not workforce.busy(first)
    workforce.gave(first)
    assert (workforce.busy(first), workforce.busy(second)) == (True, False)


def test_it_is_busy_until_it_has_given_back_what_is_above_its_workers_and_one_more() -> None:
    workforce = Workforce(executor := FakeExecutor(1))
    (lane,) = executor.lanes
    workforce.gave(lane)
    workforce.gave(lane)
    workforce.got_back(lane)
    assert workforce.busy(lane)
    workforce.got_back(lane)
    assert not workforce.busy(lane)


def test_a_lane_of_several_workers_takes_a_batch_for_each() -> None:
    executor = FakeExecutor(1)
    executor.lanes[0].workers = 3
    workforce = Workforce(executor)
    for busy in (False, False, True):
        workforce.gave(executor.lanes[0])
        assert workforce.busy(executor.lanes[0]) is busy
