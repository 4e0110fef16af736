"""A fleet of lanes, which are fakes: how it is closed, whatever its lanes do meanwhile."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from pipeframe_async._rules.wear import Wear
from pipeframe_async.errors import StepError
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.executors.processes.lane import BATCHES_IN_LANE, Hired
from pipeframe_async.wire import ChainSpec

pytestmark = pytest.mark.virtual_clock


class FakeLane:
    """Takes its time to be closed, until it is killed."""

    def __init__(self, seconds: float = 0.0, problems: list[str] | None = None, starts: int = 1) -> None:
        self.starts = starts
        self.done: list[str] = []
        self._seconds, self._problems = seconds, problems or []
        self._killed = asyncio.Event()

    def closing(self) -> None:
        self.done.append("closing")

    def kill(self, *, overdue: bool = False) -> None:
        self.done.append("kill overdue" if overdue else "kill")
        self._killed.set()

    async def close(self, *, graceful: bool) -> list[str]:
        self.done.append("close" if graceful else "close at once")
        try:
            async with asyncio.timeout(self._seconds):
                await self._killed.wait()
        except TimeoutError:
            pass
        self.done.append("closed")
        return self._problems


def fleet_of(*lanes: FakeLane) -> ProcessLanes:
    fleet, any_lanes = ProcessLanes(0), list[Any](lanes)
    fleet.lanes = tuple(any_lanes)
    return fleet


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_fleet_has_so_many_lanes_and_starts_nothing() -> None:
    fleet = ProcessLanes(3, wear=Wear(max_batches=5))
    assert [(lane.name, lane.workers, lane.slots) for lane in fleet.lanes] == [
        (f"lane {n}", 1, BATCHES_IN_LANE) for n in range(3)
    ]
    assert fleet.restarts == 0
    await fleet.close(kill=False, timeout=1)


@pytest.mark.parametrize(("max_rss", "weighs"), [(None, False), (1000, True)])
async def test_workers_say_how_large_they_are_where_that_is_limited(max_rss: int | None, weighs: bool) -> None:
    fleet = ProcessLanes(1, wear=Wear(max_rss=max_rss))
    worker = fleet.lanes[0]._new_worker()
    assert worker._weigh is weighs
    worker.end()
    await fleet.close(kill=False, timeout=1)


async def test_workers_beyond_the_first_of_each_lane_are_restarts() -> None:
    assert fleet_of(FakeLane(starts=0), FakeLane(starts=1), FakeLane(starts=4)).restarts == 3


async def test_a_chain_travels_as_bytes_that_are_the_same_for_the_same_chain() -> None:
    one, two = (ProcessLanes(0).load(ChainSpec(("int",), (int,), None, 2.0)) for _ in range(2))
    assert one == two
    assert one.data
    assert one.time_limit == 2.0


async def test_lanes_are_closed_at_the_same_time_and_start_nobody_before_that() -> None:
    lanes = [FakeLane(3.0), FakeLane(5.0)]
    await fleet_of(*lanes).close(kill=False, timeout=100)
    assert now() == 5.0
    assert [lane.done for lane in lanes] == [["closing", "close", "closed"]] * 2


async def test_what_takes_too_long_is_killed() -> None:
    lanes = [FakeLane(1.0), FakeLane(1e9)]
    await fleet_of(*lanes).close(kill=False, timeout=10)
    assert now() == 10.0
    assert lanes[1].done == ["closing", "close", "kill overdue", "closed"]


async def test_where_nobody_waits_all_are_killed_first() -> None:
    lane = FakeLane(1e9)
    await fleet_of(lane).close(kill=True, timeout=10)
    assert now() == 0.0
    assert lane.done == ["closing", "kill", "close at once", "closed"]


async def test_a_watchdog_that_was_not_needed_is_gone() -> None:
    lane = FakeLane()
    await fleet_of(lane).close(kill=False, timeout=10)
    await asyncio.sleep(100)
    assert "kill overdue" not in lane.done


async def test_a_teardown_that_raised_is_told_when_all_are_closed() -> None:
    lanes = [FakeLane(problems=["Traceback: no", "Traceback: nor this"]), FakeLane(5.0)]
    with pytest.raises(StepError, match=r"teardown raised in a worker:\nTraceback: no$"):
        await fleet_of(*lanes).close(kill=False, timeout=10)
    assert lanes[1].done[-1] == "closed"


async def test_a_cancel_is_passed_on_when_all_are_closed() -> None:
    lane = FakeLane(5.0)
    closing = asyncio.ensure_future(fleet_of(lane).close(kill=False, timeout=10))
    await asyncio.sleep(1)
    closing.cancel()
    await asyncio.sleep(1)
    closing.cancel()
    await asyncio.wait([closing])
    assert (closing.cancelled(), lane.done[-1], now()) == (True, "closed", 5.0)


# One that nobody closes.


class Left:
    """A worker of a fleet that was dropped."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def hang_up(self) -> None:
        self.done.append("hang up")
        raise RuntimeError("Event loop is closed")

    def kill(self) -> None:
        self.done.append("kill")

    def end(self) -> None:
        self.done.append("end")


def test_a_fleet_that_is_dropped_says_so_and_ends_its_workers(recwarn: pytest.WarningsRecorder) -> None:
    left: Any = [Left(), Left()]
    warnings.simplefilter("always")
    fleet = ProcessLanes(2)
    for lane, worker in zip(fleet.lanes, left, strict=True):
        lane.hired.append(Hired(worker, worker))
    del fleet, lane
    gc.collect()
    (said,) = recwarn.list
    assert said.category is ResourceWarning
    assert "dropped while it was open: its 2 workers are killed" in str(said.message)
    assert [worker.done for worker in left] == [["hang up", "kill", "end"]] * 2


def test_one_that_has_no_workers_is_dropped_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    fleet = ProcessLanes(2)
    del fleet
    gc.collect()
    assert not recwarn.list


async def test_one_that_was_closed_is_dropped_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    fleet = fleet_of(FakeLane())
    await fleet.close(kill=False, timeout=1.0)
    assert not fleet._forgotten.alive
    assert not recwarn.list
