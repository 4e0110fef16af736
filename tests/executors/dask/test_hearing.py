"""Which Dask workers are heard: none of them holds up another."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("distributed", reason="no distributed is here")

from pipeframe_async.executors.dask.hearing import Hearing

pytestmark = pytest.mark.virtual_clock


class Reach:
    """Some answer at once, and the others never."""

    def __init__(self, *there: str) -> None:
        self.there = {*there}
        self.asked: list[str] = []
        self.told: list[str] = []

    async def ask(self, address: str) -> None:
        self.asked.append(address)
        if address not in self.there:
            await asyncio.sleep(1_000.0)
        self.told.append(address)


async def listened(reach: Reach, seconds: int) -> tuple[list[str], set[str]]:
    """Who was told to be alive, and who was to be given up."""
    lost: set[str] = set()
    hearing = Hearing(6.0, reach.ask)
    for _ in range(seconds):
        lost |= {*hearing.look(["a", "b"])}
        await asyncio.sleep(hearing.beat)
    await hearing.close()
    return reach.told, lost


async def test_who_is_quiet_is_asked_and_who_stays_so_is_given_up() -> None:
    reach = Reach("a")
    told, lost = await listened(reach, 8)
    assert (set(told), lost) == ({"a"}, {"b"})
    assert len(told) >= 6


async def test_a_question_that_is_lost_is_asked_again_while_there_is_time() -> None:
    reach = Reach("a")
    await listened(reach, 6)
    assert reach.asked.count("b") >= 2


async def test_who_has_answered_is_not_asked() -> None:
    reach = Reach("a")
    hearing = Hearing(6.0, reach.ask)
    for _ in range(8):
        assert hearing.look(["a"]) == []
        await asyncio.sleep(0.9)
        hearing.heard("a")
    assert (reach.asked, hearing.lasts("a")) == ([], 0.0)
    await hearing.close()


async def test_who_is_wanted_is_asked_although_it_has_just_answered() -> None:
    reach = Reach("a", "b")
    hearing = Hearing(6.0, reach.ask)
    for _ in range(3):
        assert hearing.look(["a", "b"], ["b"]) == []
        await asyncio.sleep(0.1)
    await hearing.close()
    assert set(reach.asked) == {"b"}
