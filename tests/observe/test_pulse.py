"""The pulse: snapshots on the loop, and a loop that is blocked is seen from outside of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeframe_async.observe.pulse import BEAT, Pulse
from pipeframe_async.stats import Stats


class Looks:
    def __init__(self) -> None:
        self.taken = 0

    def __call__(self) -> Stats:
        self.taken += 1
        return Stats(fed=self.taken)


@pytest.mark.process
async def test_a_loop_that_is_blocked_is_seen_and_for_how_long() -> None:
    pulse = Pulse(Looks())
    pulse.begin()
    try:
        await asyncio.sleep(0.01)
        assert pulse.blocked() == 0.0
        time.sleep(0.4)  # noqa: ASYNC251 - blocks the loop
        assert 0.3 - BEAT <= pulse.blocked() <= 10
        await asyncio.sleep(2 * BEAT)
        assert pulse.blocked() < 0.3
        assert pulse.lateness().p99 > 0.2
    finally:
        pulse.end()


async def test_it_looks_when_it_begins_and_once_more_when_it_ends() -> None:
    looks = Looks()
    pulse = Pulse(looks)
    assert pulse.stats == Stats()
    pulse.begin()
    assert (looks.taken, pulse.stats.fed) == (1, 1)
    pulse.end()
    assert (looks.taken, pulse.stats.fed) == (2, 2)
    assert pulse.blocked() == 0.0


@pytest.mark.process
async def test_it_may_begin_again() -> None:
    looks = Looks()
    pulse = Pulse(looks)
    for _ in range(2):
        pulse.begin()
        await asyncio.sleep(0)
        pulse.end()
    assert looks.taken == 4


async def test_a_look_that_fails_does_not_end_it() -> None:
    looks = 0

    def look() -> Stats:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise LookupError
        return Stats(fed=looks)

    pulse = Pulse(look)
    with pytest.raises(LookupError):
        pulse.begin()
    while pulse.stats.fed < 2:
        await asyncio.sleep(0.01)
    pulse.end()
