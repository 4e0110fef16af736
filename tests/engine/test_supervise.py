"""Tasks watched and ended together: the first error counts, and none is left running."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pipeframe_async._engine.supervise import END_TIMEOUT, ended, finished
from tests.engine.harness import now

pytestmark = pytest.mark.virtual_clock


async def fails(after: float) -> None:
    await asyncio.sleep(after)
    raise OSError(f"after {after:g} s")


def tasks_of(*coroutines: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(coroutine) for coroutine in coroutines]


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def test_it_waits_until_all_are_done() -> None:
    give_up = asyncio.ensure_future(never())
    await finished(tasks_of(asyncio.sleep(1), asyncio.sleep(3)), give_up)
    assert now() == 3
    await ended([give_up])


async def test_giving_up_ends_the_waiting_and_not_the_tasks() -> None:
    (give_up,), tasks = tasks_of(asyncio.sleep(2)), tasks_of(never())
    await finished(tasks, give_up)
    assert (now(), tasks[0].done()) == (2, False)
    await ended(tasks)


async def test_the_first_error_ends_the_waiting() -> None:
    give_up, *tasks = tasks_of(never(), fails(2), fails(5), never())
    with pytest.raises(OSError, match="after 2 s"):
        await finished(tasks, give_up)
    assert now() == 2
    await ended([give_up, *tasks])


async def test_an_error_of_one_that_is_only_watched_counts_too() -> None:
    give_up, watched, task = tasks_of(never(), fails(1), never())
    with pytest.raises(OSError, match="after 1 s"):
        await finished([task], give_up, watched=[watched])
    await ended([give_up, task])


async def test_one_that_is_only_watched_is_not_waited_for() -> None:
    give_up, watched, task = tasks_of(never(), never(), asyncio.sleep(1))
    await finished([task], give_up, watched=[watched])
    assert now() == 1
    await ended([give_up, watched])


async def test_tasks_are_cancelled_and_waited_for_while_they_clean_up() -> None:
    cleaned: list[float] = []

    async def cleans_up() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(1)
            cleaned.append(now())

    tasks = tasks_of(cleans_up(), never())
    await asyncio.sleep(0)
    await ended(tasks)
    assert cleaned == [1]
    assert all(task.cancelled() for task in tasks)


async def test_those_that_may_end_by_themselves_are_given_the_time() -> None:
    tasks = tasks_of(asyncio.sleep(2), never())
    await ended(tasks, patience=3)
    assert [task.cancelled() for task in tasks] == [False, True]
    assert now() == 3


async def test_one_that_swallows_every_cancel_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.get_running_loop().create_task(stubborn(), name="the stubborn one")
    await asyncio.sleep(0)
    await ended([task])
    assert now() == END_TIMEOUT
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "the stubborn one did not end" in caplog.text
    let_go.set()
    await task


async def test_errors_of_those_that_end_are_looked_at() -> None:
    tasks = tasks_of(fails(0))
    await asyncio.sleep(1)
    await ended(tasks)  # the fixture of all engine tests fails where asyncio reports one as never retrieved


async def test_a_cancel_that_comes_meanwhile_is_passed_on_when_all_have_ended() -> None:
    async def cleans_up() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(1)

    tasks = tasks_of(cleans_up())
    await asyncio.sleep(0)
    (ending,) = tasks_of(ended(tasks))
    await asyncio.sleep(0.5)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert (now(), tasks[0].done()) == (1, True)


async def test_nothing_to_end_takes_no_time() -> None:
    await ended([], patience=10)
    assert now() == 0
