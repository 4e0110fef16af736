"""Parts that wait for their next attempt: each wakes when its time has come, in no worker meanwhile."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from pipeframe_async._engine.journeys.sleepers import MOST_WOKEN, Sleepers
from pipeframe_async._rules.journey import Journey, Part
from tests.engine.harness import now

pytestmark = pytest.mark.virtual_clock


def a_part(position: int = 0) -> Part:
    return Journey(position, None).start()


class Woken:
    """Who was woken, for which stage and when."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, float]] = []
        self.sleepers = Sleepers(self.wake)

    def wake(self, part: Part, stage: int) -> None:
        self.calls.append((part.journey.position, stage, now()))


async def test_each_wakes_when_its_time_has_come_in_the_stage_it_goes_on_in() -> None:
    woken = Woken()
    for position, delay in ((0, 3.0), (1, 1.0), (2, 2.0)):
        woken.sleepers.put(a_part(position), position + 10, delay)
    await asyncio.sleep(5)
    assert woken.calls == [(1, 11, 1.0), (2, 12, 2.0), (0, 10, 3.0)]
    assert len(woken.sleepers) == 0


async def test_those_of_the_same_time_wake_in_the_order_they_went_to_sleep() -> None:
    woken = Woken()
    for position in range(5):
        woken.sleepers.put(a_part(position), 0, 1.0)
    await asyncio.sleep(2)
    assert [position for position, _, _ in woken.calls] == [0, 1, 2, 3, 4]


async def test_who_sleeps_shorter_than_all_others_moves_the_alarm() -> None:
    woken = Woken()
    woken.sleepers.put(a_part(0), 0, 100.0)
    await asyncio.sleep(1)
    woken.sleepers.put(a_part(1), 0, 1.0)
    await asyncio.sleep(1.5)
    assert woken.calls == [(1, 0, 2.0)]
    assert len(woken.sleepers) == 1
    woken.sleepers.close()


async def test_of_those_who_are_taken_out_none_wakes() -> None:
    woken = Woken()
    parts = [a_part(position) for position in range(3)]
    for part in parts:
        woken.sleepers.put(part, 0, 1.0)
    assert woken.sleepers.withdraw(parts[1])
    assert len(woken.sleepers) == 2
    await asyncio.sleep(2)
    assert [position for position, _, _ in woken.calls] == [0, 2]


async def test_all_are_taken_out_where_no_journey_is_named() -> None:
    woken = Woken()
    parts = {a_part(position) for position in range(3)}
    for part in parts:
        woken.sleepers.put(part, 0, 1.0)
    assert set(woken.sleepers.clear()) == parts
    await asyncio.sleep(2)
    assert woken.calls == []


async def test_after_closing_nobody_is_woken() -> None:
    woken = Woken()
    woken.sleepers.put(a_part(), 0, 1.0)
    woken.sleepers.close()
    await asyncio.sleep(2)
    assert woken.calls == []


async def test_many_who_wake_at_once_are_woken_so_many_a_turn() -> None:
    woken, seen = Woken(), []
    for position in range(2 * MOST_WOKEN + 1):
        woken.sleepers.put(a_part(position), 0, 1.0)
    await asyncio.sleep(1.0)
    while len(woken.sleepers):
        seen.append(len(woken.calls))
        await asyncio.sleep(0)
    assert all(later - before <= MOST_WOKEN for before, later in pairwise(seen))
    assert len(woken.calls) == 2 * MOST_WOKEN + 1


async def test_who_wakes_may_go_to_sleep_again() -> None:
    naps: list[float] = []
    part = a_part()

    def wake(part: Part, stage: int) -> None:
        naps.append(now())
        if len(naps) < 3:
            sleepers.put(part, stage, 1.0)

    sleepers = Sleepers(wake)
    sleepers.put(part, 0, 1.0)
    await asyncio.sleep(10)
    assert naps == [1.0, 2.0, 3.0]
