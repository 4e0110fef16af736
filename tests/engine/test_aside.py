"""A thread for what blocks: one call after the other, and nobody waits for it at the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pipeframe_async._engine.aside import DaemonThread


async def test_calls_come_one_after_the_other_and_what_they_raise_comes_back() -> None:
    thread, loop = DaemonThread("aside"), asyncio.get_running_loop()
    names = [loop.run_in_executor(thread, lambda: threading.current_thread().name) for _ in range(3)]
    assert await asyncio.gather(*names) == ["aside"] * 3
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(thread, lambda: 1 // 0)
    thread.shutdown()


async def test_a_call_that_hangs_is_left_behind() -> None:
    thread, hangs = DaemonThread("aside"), threading.Event()
    hanging = thread.submit(hangs.wait)
    waiting = thread.submit(hangs.is_set)
    assert waiting.cancel()
    thread.shutdown()
    (found,) = [one for one in threading.enumerate() if one.name == "aside"]
    assert found.daemon
    hangs.set()
    await asyncio.wrap_future(hanging)
    found.join(5)
    assert not found.is_alive()


def test_without_calls_there_is_no_thread() -> None:
    DaemonThread("never").shutdown()
    assert "never" not in [one.name for one in threading.enumerate()]
