"""A user's hook, called: on the loop or in a thread, timed, and its errors told apart from ours."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from pipeframe_async import SinkError
from pipeframe_async._engine.delivering.hooks import Hook


async def test_an_async_hook_is_called_on_the_loop() -> None:
    seen: list[Any] = []

    async def sink(values: list[int]) -> None:
        seen.append((values, threading.current_thread() is threading.main_thread()))

    hook = Hook(sink, "sink")
    await hook([1, 2])
    assert seen == [([1, 2], True)]
    hook.close()


async def test_a_plain_hook_is_called_in_one_thread_of_its_own() -> None:
    threads: list[threading.Thread] = []
    hook = Hook(lambda values: threads.append(threading.current_thread()), "sink")
    for _ in range(3):
        await hook([1])
    assert len(set(threads)) == 1
    assert threads[0].name.startswith("pipeframe-sink")
    hook.close()
    threads[0].join()


async def test_an_object_whose_call_is_async_is_called_on_the_loop() -> None:
    class Sink:
        async def __call__(self, values: list[int]) -> None:
            assert threading.current_thread() is threading.main_thread()

    hook = Hook(Sink(), "sink")
    await hook([1])


async def test_what_a_plain_hook_hands_on_of_an_async_one_is_awaited() -> None:
    done: list[int] = []

    async def later(values: list[int]) -> None:
        await asyncio.sleep(0)
        done.extend(values)

    hook = Hook(lambda values: later(values), "sink")
    await hook([1])
    assert done == [1]
    hook.close()


@pytest.mark.parametrize("name", ["sink", "dead_letter"])
async def test_what_it_raises_is_a_sink_error_that_names_it(name: str) -> None:
    async def broken(values: Any) -> None:
        raise OSError("disk full")

    with pytest.raises(SinkError, match=f"{name} raised OSError: disk full") as caught:
        await Hook(broken, name)([1])
    assert isinstance(caught.value.__cause__, OSError)


async def test_what_it_raises_in_its_thread_is_one_too() -> None:
    def broken(values: Any) -> None:
        raise OSError("disk full")

    hook = Hook(broken, "sink")
    with pytest.raises(SinkError, match="disk full"):
        await hook([1])
    hook.close()


@pytest.mark.virtual_clock
async def test_a_cancel_of_ours_passes() -> None:
    async def slow(values: Any) -> None:
        await asyncio.sleep(100)

    hook = Hook(slow, "sink")
    call = asyncio.ensure_future(hook([1]))
    await asyncio.sleep(1)
    assert hook.busy
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not hook.busy


async def test_a_cancel_of_what_it_has_waited_for_is_an_error_of_its_own() -> None:
    async def waits(values: Any) -> None:
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    with pytest.raises(SinkError, match="CancelledError: what it waited for was cancelled"):
        await Hook(waits, "sink")([1])


async def test_it_says_how_long_its_calls_have_taken_and_whether_it_is_at_work() -> None:
    busy: list[bool] = []

    async def sink(values: Any) -> None:
        busy.append(hook.busy)
        until = time.perf_counter() + 0.002
        while time.perf_counter() < until:
            pass

    hook = Hook(sink, "sink")
    await hook([1])
    await hook([1])
    assert (busy, hook.busy) == ([True, True], False)
    assert hook.seconds >= 0.004


async def test_an_error_leaves_it_idle() -> None:
    async def broken(values: Any) -> None:
        raise OSError

    hook = Hook(broken, "sink")
    with pytest.raises(SinkError):
        await hook([1])
    assert not hook.busy
