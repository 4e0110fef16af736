"""A bell wakes whoever waits now, and nobody later."""

from __future__ import annotations

import asyncio

import pytest

from pipeframe_async._engine.bell import Bell

pytestmark = pytest.mark.virtual_clock


async def waiting(bell: Bell, count: int) -> list[asyncio.Task[None]]:
    waiters = [asyncio.ensure_future(bell.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    return waiters


async def test_a_ring_wakes_all_who_wait() -> None:
    bell = Bell()
    waiters = await waiting(bell, 3)
    assert bell.ring()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiters)


async def test_a_ring_with_nobody_waiting_says_so_and_is_not_kept() -> None:
    bell = Bell()
    assert not bell.ring()
    (waiter,) = await waiting(bell, 1)
    await asyncio.sleep(1)
    assert not waiter.done()
    bell.ring()
    await waiter


async def test_a_ring_wakes_each_waiter_once() -> None:
    bell = Bell()
    (waiter,) = await waiting(bell, 1)
    assert bell.ring()
    assert not bell.ring()
    await waiter


async def test_a_waiter_that_was_cancelled_is_in_nobodys_way() -> None:
    bell = Bell()
    gone, stays = await waiting(bell, 2)
    gone.cancel()
    await asyncio.sleep(0)
    assert bell.ring()
    await stays


async def test_one_that_waits_at_most_for_a_while_goes_on_alone_and_once() -> None:
    bell = Bell()
    (stays,) = await waiting(bell, 1)
    async with asyncio.timeout(2):
        await bell.wait(1.0)
    assert not stays.done()
    assert bell.ring()
    await stays
    assert not bell.ring()


async def test_one_that_a_ring_has_woken_is_not_let_go_later() -> None:
    bell = Bell()
    waiter = asyncio.ensure_future(bell.wait(1.0))
    await asyncio.sleep(0.5)
    assert bell.ring()
    await waiter
    await asyncio.sleep(1)
    assert not bell.ring()


async def test_one_that_is_cancelled_leaves_nothing_that_comes_later() -> None:
    bell = Bell()
    waiter = asyncio.ensure_future(bell.wait(1.0))
    await asyncio.sleep(0.5)
    waiter.cancel()
    await asyncio.sleep(1)
    assert waiter.cancelled()


async def test_a_ring_in_the_turn_in_which_one_is_let_go_is_in_nobodys_way() -> None:
    bell, errors = Bell(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    asyncio.get_running_loop().call_later(1.0, bell.ring)  # before its own, at the same time
    async with asyncio.timeout(2):
        await bell.wait(1.0)
    assert not errors
