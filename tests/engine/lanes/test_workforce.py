"""Who of the lanes has something to do, of all runs that share them; and who is told to wait for whom."""

from __future__ import annotations

import asyncio

import pytest

from pipeframe_async._engine.lanes.workforce import Claim, Workforce
from pipeframe_async._rules.sharing import Share
from pipeframe_async.contracts import Lane
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import CountedBell

pytestmark = pytest.mark.virtual_clock


class Bench:
    """A workforce of one-worker lanes, and those who share it."""

    def __init__(self, lanes: int = 1) -> None:
        self.executor = FakeExecutor(lanes)
        self.workforce = Workforce(self.executor)
        self.lane = self.executor.lanes[0]
        self.hungry: set[str] = set()
        self.bells: dict[str, CountedBell] = {}

    def claim(self, name: str, *, first: bool = False, patient: bool = False) -> Claim:
        def wants(lane: Lane) -> bool:
            return name in self.hungry

        self.bells[name] = CountedBell()
        claim = Claim(Share(first, patient), self.bells[name], wants, called=patient)
        self.workforce.join(claim)
        return claim

    def calls(self, name: str = "calls") -> Claim:
        return self.claim(name, first=True, patient=True)


async def test_a_lane_is_busy_when_all_its_workers_have_a_batch() -> None:
    bench = Bench(2)
    first, second = bench.executor.lanes
    run = bench.claim("run")
    assert not bench.workforce.busy(first)
    bench.workforce.gave(first, run)
    assert (bench.workforce.busy(first), bench.workforce.busy(second)) == (True, False)


async def test_it_is_busy_until_it_has_given_back_what_is_above_its_workers_and_one_more() -> None:
    bench = Bench()
    run = bench.claim("run")
    one, two = bench.workforce.gave(bench.lane, run), bench.workforce.gave(bench.lane, run)
    bench.workforce.got_back(one)
    assert bench.workforce.busy(bench.lane)
    bench.workforce.got_back(two)
    assert not bench.workforce.busy(bench.lane)


async def test_a_lane_of_several_workers_takes_a_batch_for_each() -> None:
    bench = Bench()
    run = bench.claim("run")
    bench.lane.workers = 3
    for busy in (False, False, True):
        bench.workforce.gave(bench.lane, run)
        assert bench.workforce.busy(bench.lane) is busy


async def test_a_batch_that_rests_leaves_its_worker_to_others() -> None:
    bench = Bench()
    run, calls = bench.claim("run"), bench.calls()
    given = bench.workforce.gave(bench.lane, run)
    await asyncio.sleep(1.0)
    assert not bench.workforce.may_have(calls, bench.lane)
    bench.workforce.rests(given, resting=True)
    assert bench.bells["calls"].rings == 1
    assert bench.workforce.may_have(calls, bench.lane)
    await asyncio.sleep(5.0)
    bench.workforce.rests(given, resting=False)
    assert bench.workforce.busy(bench.lane)
    await asyncio.sleep(2.0)
    bench.workforce.got_back(given)
    assert run.share.seconds == pytest.approx(3.0)


async def test_runs_alone_need_not_ask() -> None:
    bench = Bench()
    bench.claim("run")
    assert not bench.workforce.shared
    calls = bench.calls()
    assert bench.workforce.shared
    bench.workforce.leave(calls)
    bench.workforce.leave(calls)  # again: nothing
    assert not bench.workforce.shared


async def test_a_run_is_told_to_wait_for_calls_which_are_rung_and_is_rung_when_they_have_passed() -> None:
    bench = Bench()
    run, calls = bench.claim("run"), bench.calls()
    calls.content = False
    bench.hungry = {"run", "calls"}
    assert not bench.workforce.may_have(run, bench.lane)
    assert bench.workforce.holds(run)
    assert (bench.bells["calls"].rings, bench.bells["run"].rings) == (1, 0)
    bench.hungry = {"run"}
    bench.workforce.passed(calls)
    bench.workforce.passed(calls)
    assert bench.bells["run"].rings == 0  # what was cut in this turn is in its lane first
    await asyncio.sleep(0)
    assert bench.bells["run"].rings == 1
    assert bench.workforce.may_have(run, bench.lane)
    assert not bench.workforce.holds(run)


async def test_calls_take_idle_workers_only_and_are_rung_when_one_is() -> None:
    bench = Bench()
    run, calls = bench.claim("run"), bench.calls()
    given = bench.workforce.gave(bench.lane, run)
    assert not bench.workforce.may_have(calls, bench.lane)
    bench.workforce.got_back(given)
    assert bench.bells["calls"].rings == 1
    assert bench.workforce.may_have(calls, bench.lane)


async def test_a_run_that_has_waited_long_enough_goes_before_calls() -> None:
    bench = Bench()
    run, calls = bench.claim("run"), bench.calls()
    bench.hungry = {"run", "calls"}
    taken = []
    for _ in range(40):
        for name, claim in (("calls", calls), ("run", run)):
            if bench.workforce.may_have(claim, bench.lane):
                given = bench.workforce.gave(bench.lane, claim)
                bench.workforce.may_have(run, bench.lane)  # its other slot asks, and is told to wait
                await asyncio.sleep(0.1)
                bench.workforce.got_back(given)
                taken.append(name)
                break
    assert 3 <= taken.count("run") <= 5


async def test_what_the_lanes_will_still_take_is_known_by_what_their_like_have_taken() -> None:
    bench = Bench()
    run = bench.claim("run")
    given = bench.workforce.gave(bench.lane, run)
    assert bench.workforce.remaining() == 0.0
    await asyncio.sleep(2.0)
    bench.workforce.got_back(given)
    bench.workforce.gave(bench.lane, run)
    await asyncio.sleep(0.5)
    assert bench.workforce.remaining() == pytest.approx(1.5)


async def test_whoever_leaves_lets_the_others_look_again() -> None:
    bench = Bench()
    run, calls = bench.claim("run"), bench.calls()
    bench.hungry = {"run", "calls"}
    assert not bench.workforce.may_have(run, bench.lane)
    bench.workforce.leave(calls)
    assert bench.bells["run"].rings == 1
