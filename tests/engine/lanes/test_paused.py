"""A suspended batch goes on when its results are taken, or for whom may be what they wait for."""

from __future__ import annotations

import asyncio

import pytest

from pipeframe_async._engine.lanes.paused import Paused, known
from pipeframe_async._engine.supervise import spawn

pytestmark = pytest.mark.virtual_clock

OURS, THEIRS = object(), object()


@pytest.fixture
def paused() -> Paused:
    paused = Paused(OURS, 10)
    paused.suspended(7)
    return paused


async def test_it_is_known_while_it_is_suspended(paused: Paused) -> None:
    assert known(7) is paused
    paused.goes_on()
    assert known(7) is None
    paused.suspended(8)
    paused.end()
    assert known(8) is None


async def test_it_goes_on_when_its_results_are_taken(paused: Paused) -> None:
    taken = asyncio.Event()
    asyncio.get_running_loop().call_later(5, taken.set)
    async with asyncio.timeout(6):
        await paused.may_go_on(taken)
    assert taken.is_set()


@pytest.mark.parametrize(("run", "first", "hurries"), [(THEIRS, 20, True), (OURS, 9, True), (OURS, 20, False)])
async def test_it_goes_on_for_others_that_may_be_what_they_wait_for(
    run: object, first: int, hurries: bool, paused: Paused
) -> None:
    waiting = spawn(paused.over(run, first), "waits")
    await asyncio.sleep(0)
    if hurries:
        await paused.may_go_on(asyncio.Event())
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(paused.may_go_on(asyncio.Event()), 1)
    assert not waiting.done()
    paused.end()
    await waiting
