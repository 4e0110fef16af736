"""A thread for what blocks: one call after the other, and nobody waits for it at the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pipeframe_async._engine.aside import DaemonThread
from tests.engine.harness import FakeFrame, Through


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


async def test_a_call_that_must_be_is_made_whoever_is_cancelled() -> None:
    thread, hangs, called = DaemonThread("aside"), threading.Event(), threading.Event()
    hanging = thread.submit(hangs.wait)
    waiting = asyncio.get_running_loop().run_in_executor(thread.surely, called.set)
    await asyncio.sleep(0)
    waiting.cancel()
    hangs.set()
    await asyncio.wrap_future(hanging)
    assert called.wait(5)
    thread.shutdown()


class Blocked:
    """A sink in a thread: its write takes as long as `let` is not set."""

    def __init__(self) -> None:
        self.writes, self.let, self.closed = threading.Event(), threading.Event(), threading.Event()

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None:
        self.closed.set()

    def write(self, records: list[int]) -> None:
        self.writes.set()
        self.let.wait(5)


async def test_a_sink_is_closed_behind_a_write_also_where_nobody_waits_for_that_any_more() -> None:
    """Else its file, and the lock on it, would be its process's until that ends."""
    sink = Blocked()
    running = asyncio.ensure_future(FakeFrame().run(Through(range(3), sink=sink)))
    await asyncio.to_thread(sink.writes.wait, 5)
    for _ in range(2):  # the second one meets it as it closes the sink
        running.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not sink.closed.is_set()
    sink.let.set()
    assert await asyncio.to_thread(sink.closed.wait, 5)


def test_without_calls_there_is_no_thread() -> None:
    DaemonThread("never").shutdown()
    assert "never" not in [one.name for one in threading.enumerate()]
