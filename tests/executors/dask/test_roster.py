"""Who is on the cluster: they come, leave, retire, and fall silent, and those who have lanes there are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("distributed", reason="no distributed is here")

from pipeframe_async.errors import WorkerLost
from pipeframe_async.executors.dask import probing
from pipeframe_async.executors.dask.reach import Member
from pipeframe_async.executors.dask.roster import CLOSED, FORGET_SECONDS, LOOK_SECONDS, Roster
from pipeframe_async.executors.dask.seats import Seat

pytestmark = pytest.mark.virtual_clock

TIMEOUT = 6.0
THERE = Member(2, stays=True, begins=True)
PAUSED = Member(2, stays=True, begins=False)
RETIRED = Member(2, stays=False, begins=False)


class Reach:
    """A cluster as it is said to be."""

    def __init__(self, **members: Member) -> None:
        self.there = members
        self.mute: set[str] = set()
        self.status = "running"
        self.forgotten: list[str] = []

    async def members(self) -> dict[str, Member]:
        return {**self.there}

    async def probed(self, addresses: list[str], library: str) -> Mapping[str, Any]:
        ours = probing.Ours.here()
        answer = {"python": ours.python, "pipeframe_async": ours.library, "cloudpickle": ours.cloudpickle}
        return dict.fromkeys(addresses, answer)

    async def look(self, address: str, leases: Iterable[str]) -> dict[str, dict[str, Any]]:
        if address in self.mute:
            await asyncio.sleep(1_000.0)
        return {key: {"pid": 7} for key in leases}

    def forget(self, address: str) -> None:
        self.forgotten.append(address)


class Lanes:
    """Has a place on each of these."""

    def __init__(self, *addresses: str) -> None:
        self.there = [Seat(f"lease-{n}", address, None, there=True) for n, address in enumerate(addresses)]
        self.gone: dict[str, str] = {}
        self.words: list[str] = []
        self.fills = self.ends = 0

    def seats(self) -> list[Seat]:
        return [*self.there]

    def lost(self, seat: Seat, why: str) -> None:
        self.there.remove(seat)
        self.gone[seat.address] = why

    def told(self, seat: Seat, answer: dict[str, Any]) -> None:
        seat.told(answer)

    def alive(self, address: str) -> None:
        self.words.append(address)

    def fill(self) -> None:
        self.fills += 1

    def ended(self) -> None:
        self.ends += 1


@asynccontextmanager
async def followed(reach: Any, lanes: Lanes) -> AsyncIterator[Roster]:
    roster = Roster(reach, TIMEOUT, lanes)
    try:
        await roster.filled()
        yield roster
    finally:
        await roster.close()


async def test_who_comes_is_asked_and_has_room_and_who_pauses_has_none() -> None:
    reach, lanes = Reach(a=THERE), Lanes()
    async with followed(reach, lanes) as roster:
        assert roster.threads() == {"a": 2}
        reach.there = {"a": PAUSED, "b": THERE}
        await asyncio.sleep(3 * LOOK_SECONDS)
        assert roster.threads() == {"b": 2}
        assert lanes.fills >= 1
        assert lanes.gone == {}


async def test_a_cluster_without_workers_is_waited_for_and_then_an_error() -> None:
    with pytest.raises(WorkerLost, match="the Dask cluster had no worker for 6 s"):
        async with followed(Reach(), Lanes()):
            raise AssertionError


@pytest.mark.parametrize(("now", "why"), [({"b": THERE}, "it has left"), ({"a": RETIRED, "b": THERE}, "it is retired")])
async def test_lanes_of_who_leaves_are_lost(now: dict[str, Member], why: str) -> None:
    reach, lanes = Reach(a=THERE, b=THERE), Lanes("a", "b")
    async with followed(reach, lanes):
        reach.there = now
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert list(lanes.gone) == ["a"]
        assert lanes.gone["a"].startswith(why)


async def test_who_has_left_has_some_time_to_finish_and_who_comes_back_is_not_forgotten() -> None:
    reach = Reach(a=THERE, b=THERE, c=THERE)
    async with followed(reach, Lanes("a", "b", "c")):
        reach.there = {"c": THERE}
        await asyncio.sleep(2 * LOOK_SECONDS)
        reach.there["b"] = THERE
        assert reach.forgotten == []
        await asyncio.sleep(FORGET_SECONDS + LOOK_SECONDS)
        assert reach.forgotten == ["a"]


async def test_who_is_silent_is_given_up_and_has_no_room_until_it_is_heard() -> None:
    reach, lanes = Reach(a=THERE, b=THERE), Lanes("a", "b")
    async with followed(reach, lanes) as roster:
        reach.mute = {"a"}
        await asyncio.sleep(TIMEOUT + 2.0)
        assert lanes.gone == {"a": "nothing was heard of it for 6 s"}
        assert (roster.threads(), reach.forgotten) == ({"b": 2}, ["a"])
        assert set(lanes.words) == {"b"}
        reach.mute = set()
        await asyncio.sleep(TIMEOUT)
        assert roster.threads() == {"a": 2, "b": 2}


async def test_in_the_middle_of_a_long_batch_a_worker_is_asked_although_it_answers_others() -> None:
    lanes = Lanes("a", "a")
    lanes.there[0].busy = 1
    async with followed(Reach(a=THERE), lanes) as roster:
        for _ in range(5):
            await asyncio.sleep(0.9)
            roster.heard("a")
        assert lanes.there[0].pid == 7
        assert roster.silent("a") < 1.0


async def test_a_client_that_is_closed_is_the_end_of_all() -> None:
    reach, lanes = Reach(a=THERE, b=THERE), Lanes("a", "b")
    async with followed(reach, lanes) as roster:
        reach.status = "closed"
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert (roster.fatal, lanes.ends) == (CLOSED, 1)
        assert lanes.gone == {"a": CLOSED, "b": CLOSED}
        assert sorted(reach.forgotten) == ["a", "b"]


async def test_it_ends_although_a_cancel_becomes_a_lost_connection_on_its_way() -> None:
    class Lossy(Reach):
        slow = False

        async def members(self) -> dict[str, Member]:
            try:
                await asyncio.sleep(1_000.0 if self.slow else 0.0)
            except asyncio.CancelledError:
                raise OSError("closed") from None
            return await super().members()

    reach = Lossy(a=THERE)
    async with asyncio.timeout(10.0), followed(reach, Lanes("a")):
        reach.slow = True
        await asyncio.sleep(2 * LOOK_SECONDS)
