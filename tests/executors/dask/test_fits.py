"""Which Dask workers can have lanes: each is asked by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("distributed", reason="no distributed is here")

from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.dask import probing
from pipeframe_async.executors.dask.fits import PROBE_SECONDS, Fits
from pipeframe_async.executors.dask.reach import Member

pytestmark = pytest.mark.virtual_clock


class Reach:
    """Some answer at once, and the others never."""

    def __init__(self, *there: str) -> None:
        self.there = {*there}
        self.asked: list[str] = []
        self.missing: dict[str, list[str]] = {}

    async def lacks(self, address: str, modules: list[str]) -> list[str]:
        if address == "mute":
            raise OSError("reset")
        return [name for name in modules if name in self.missing.get(address, ())]

    async def probed(self, addresses: list[str], library: str) -> Mapping[str, Any]:
        self.asked += addresses
        if addresses[0] not in self.there:
            await asyncio.sleep(1_000.0)
        if addresses[0] == "gone":
            return {"gone": OSError("reset")}
        ours = probing.Ours.here()
        found = {"python": ours.python, "pipeframe_async": ours.library, "cloudpickle": ours.cloudpickle}
        return {addresses[0]: found | ({"problem": "no disk"} if addresses[0] == "odd" else {})}


MEMBER = Member(1, stays=True, begins=True)


async def test_a_worker_that_does_not_say_whether_it_fits_holds_up_nobody() -> None:
    reach: Any = Reach("a", "odd")
    rung: list[bool] = []
    fits = Fits(reach, lambda: rung.append(True))
    fits.meet({"a": MEMBER, "odd": MEMBER, "cut off": MEMBER})
    await fits.answered(5.0)
    assert (fits.fit, fits.misfits) == ({"a"}, {"odd": "pipeframe_async cannot be used there: no disk"})
    assert len(rung) == 2
    fits.meet({"a": MEMBER, "cut off": MEMBER})
    assert (fits.misfits, len(reach.asked)) == ({}, 3)
    await asyncio.sleep(PROBE_SECONDS)
    fits.meet({"a": MEMBER, "cut off": MEMBER})
    await asyncio.sleep(0.1)
    assert reach.asked.count("cut off") == 2
    await fits.close()


async def test_a_worker_that_is_gone_before_it_has_answered_is_no_misfit() -> None:
    reach: Any = Reach("gone")
    fits = Fits(reach, lambda: None)
    for _ in range(2):
        fits.meet({"gone": MEMBER})
        await fits.answered(5.0)
    assert (fits.fit, fits.misfits, reach.asked) == (set(), {}, ["gone", "gone"])


async def test_a_worker_that_is_another_one_by_now_is_asked_again() -> None:
    reach: Any = Reach("a")
    fits = Fits(reach, lambda: None)
    for _ in range(2):
        fits.meet({"a": MEMBER})
        await fits.answered(5.0)
    fits.again("a")
    fits.meet({"a": MEMBER})
    await fits.answered(5.0)
    assert (reach.asked, fits.fit) == (["a", "a"], {"a"})
    await fits.close()


async def met(reach: Any, *addresses: str) -> Fits:
    fits = Fits(reach, lambda: None)
    fits.meet(dict.fromkeys(addresses, MEMBER))
    await fits.answered(5.0)
    return fits


async def test_who_lacks_a_module_fits_no_more_where_others_have_it_and_who_joins_is_asked_for_it_too() -> None:
    reach: Any = Reach("a", "b", "c")
    reach.missing = {"b": ["orders"], "c": ["orders"]}
    fits = await met(reach, "a", "b")
    assert await fits.need(["orders", "prices"]) == {"b"}
    assert (fits.fit, fits.needs) == ({"a"}, {"orders", "prices"})
    assert "it does not have the module 'orders', which steps name" in fits.misfits["b"]
    assert await fits.need(["orders"]) == set()
    fits.meet(dict.fromkeys(["a", "b", "c"], MEMBER))
    await fits.answered(5.0)
    assert (fits.fit, sorted(fits.misfits)) == ({"a"}, ["b", "c"])


async def test_where_all_lack_a_module_it_is_refused_and_they_fit_for_others() -> None:
    reach: Any = Reach("a", "b")
    reach.missing = {"a": ["orders.steps"], "b": ["orders.steps"]}
    fits = await met(reach, "a", "b")
    with pytest.raises(ConfigError) as raised:
        await fits.need(["orders.steps"])
    assert "ship_modules=['orders']" in str(raised.value)
    assert (fits.fit, fits.misfits, fits.needs) == ({"a", "b"}, {}, set())
    reach.missing = {}
    assert await fits.need(["orders.steps"]) == set()


async def test_who_does_not_say_what_it_lacks_fits() -> None:
    reach: Any = Reach("a", "mute")
    reach.missing = {"a": ["orders"]}
    fits = await met(reach, "a", "mute")
    assert await fits.need(["orders"]) == {"a"}
    assert fits.fit == {"mute"}


async def test_who_comes_while_a_module_comes_to_be_needed_is_asked_for_that_too() -> None:
    reach: Any = Reach("a", "b")
    fits = Fits(reach, lambda: None)
    fits.meet({"a": MEMBER})
    await fits.answered(1.0)
    await fits.need(["first"])
    lacks = reach.lacks

    async def slowly(address: str, modules: list[str]) -> list[str]:
        await asyncio.sleep(1.0)
        return [*await lacks(address, modules)]

    reach.lacks, reach.missing = slowly, {"b": ["second"]}
    fits.meet({"a": MEMBER, "b": MEMBER})
    await asyncio.sleep(0.5)
    await fits.need(["second"])
    await fits.answered(5.0)
    assert (fits.fit, [*fits.misfits]) == ({"a"}, ["b"])
    await fits.close()
