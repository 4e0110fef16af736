"""The virtual clock: time without waiting, hangs as failures, and orders drawn from a seed."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest

from pipeframe_async.testing import Deadlock, Overdue, VirtualClockLoop, run_virtual

T = TypeVar("T")


def now() -> float:
    return asyncio.get_running_loop().time()


async def wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def test_an_hour_of_sleep_takes_no_real_time() -> None:
    async def main() -> float:
        await asyncio.sleep(1800)
        await asyncio.sleep(1799)
        return now()

    started = time.monotonic()
    assert run_virtual(main) == 3599
    assert time.monotonic() - started < 5


def test_it_takes_a_coroutine_as_well_as_a_function() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(1)
        return 2 * number

    assert run_virtual(double(21)) == 42


def test_time_stands_still_while_anything_can_run() -> None:
    async def main() -> float:
        timer = asyncio.create_task(asyncio.sleep(0.001))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not timer.done()
        await timer
        return now()

    assert run_virtual(main) == 0.001


def test_timers_fire_in_the_order_of_their_times() -> None:
    fired: list[tuple[float, float]] = []

    async def at(seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append((seconds, now()))

    async def main() -> None:
        await asyncio.gather(at(3), at(0.1), at(200_000), at(0.1 + 0.2))

    run_virtual(main, limit=1_000_000)
    due = [0.1, 0.1 + 0.2, 3, 200_000]
    assert [seconds for seconds, _ in fired] == due
    assert [at for _, at in fired] == pytest.approx(due)


def test_a_timeout_fires_at_its_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await wait_for_ever()
        return now()

    assert run_virtual(main) == 30


def test_a_hang_is_a_deadlock_that_shows_where_each_task_waits() -> None:
    async def lane() -> None:
        await wait_for_ever()

    async def main() -> None:
        task = asyncio.create_task(lane(), name="lane-1")
        await task

    with pytest.raises(Deadlock) as caught:
        run_virtual(main)
    message = str(caught.value)
    assert "2 pending" in message
    assert "lane-1" in message
    for place in ("in main", "in lane", "in wait_for_ever", "test_clock.py:"):
        assert place in message


def test_a_deadlock_in_an_async_generator_names_what_is_awaited() -> None:
    async def feed() -> AsyncGenerator[int, None]:
        await wait_for_ever()
        yield 1

    async def main() -> None:
        async for _ in feed():
            pass

    with pytest.raises(Deadlock, match=r"in main\n +waiting for async_generator_asend"):
        run_virtual(main)


def test_after_a_deadlock_the_tasks_are_cancelled_and_the_loop_is_closed() -> None:
    seen: list[str] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        try:
            await wait_for_ever()
        finally:
            await asyncio.sleep(5)
            seen.append("cleaned up")

    with pytest.raises(Deadlock):
        run_virtual(main)
    assert seen == ["cleaned up"]
    assert loops[0].is_closed()


def test_a_deadlock_while_cleaning_up_does_not_hang_either() -> None:
    async def main() -> None:
        try:
            await wait_for_ever()
        finally:
            await wait_for_ever()

    with pytest.raises(Deadlock) as caught:
        run_virtual(main)
    assert isinstance(caught.value.__context__, Deadlock)
    del caught  # with it goes the task that would not end; asyncio logs that, and here is where it should
    gc.collect()


def test_what_never_ends_is_overdue() -> None:
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(1)
            ticks += 1

    with pytest.raises(Overdue, match=r"still running after 60 virtual seconds\n1 pending:"):
        run_virtual(main, limit=60)
    assert ticks == 60


def test_a_task_that_cleans_up_slowly_after_the_limit_is_let_finish() -> None:
    seen: list[float] = []

    async def main() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(10)
            seen.append(now())

    with pytest.raises(Overdue):
        run_virtual(main, limit=60)
    assert seen == [10]


def test_an_exception_of_the_coroutine_comes_out_unchanged() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtual(main)


def test_a_failed_assertion_is_no_deadlock() -> None:
    async def main() -> None:
        raise AssertionError("plain")

    with pytest.raises(AssertionError, match="plain") as caught:
        run_virtual(main)
    assert not isinstance(caught.value, Deadlock | Overdue)


@pytest.mark.parametrize("through_executor", [None, ThreadPoolExecutor], ids=["default", "pool"])
def test_the_clock_stands_still_while_a_thread_works(
    through_executor: type[ThreadPoolExecutor] | None,
) -> None:
    may_end = threading.Event()

    async def main() -> tuple[str, float]:
        executor = through_executor(1) if through_executor else None
        asyncio.get_running_loop().call_soon(threading.Timer(0.05, may_end.set).start)
        call = asyncio.get_running_loop().run_in_executor(executor, may_end.wait)
        timer = asyncio.create_task(asyncio.sleep(1))
        assert await call
        at = now()
        await timer
        if executor:
            executor.shutdown()
        return "answered", at

    assert run_virtual(main) == ("answered", 0.0)


def test_a_thread_that_waits_for_the_loop_does_not_stop_the_clock_for_good() -> None:
    async def main() -> float:
        released = threading.Event()
        asyncio.get_running_loop().call_later(7, released.set)
        await asyncio.to_thread(released.wait)
        return now()

    assert run_virtual(main, patience=0.05) == 7


def test_a_thread_of_ones_own_can_still_wake_the_loop() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def work() -> None:
            time.sleep(0.05)
            loop.call_soon_threadsafe(answer.set_result, "from outside")

        thread = threading.Thread(target=work)
        thread.start()
        try:
            return await answer
        finally:
            thread.join()

    assert run_virtual(main) == "from outside"


class TimedExecutor(Executor):
    """Answers after a virtual delay: a stand-in for workers, driven by the loop's own timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self.loop = loop
        self.delay = delay

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self.loop.call_later(self.delay, lambda: future.set_result(fn(*args, **kwargs)))
        return future


def test_an_executor_of_timers_is_virtual_too() -> None:
    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(TimedExecutor(loop, 12.5), lambda: 7), now()

    assert run_virtual(main) == (7, 12.5)


def test_sockets_work_on_it() -> None:
    async def main() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)
            writer.write(await reader.readline())
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"ping\n")
            line = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert now() == 60
        return line

    assert run_virtual(main) == b"ping\n"


def order_of_tasks(seed: int | None) -> list[int]:
    order: list[int] = []

    async def step(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            order.append(number)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(step(number))

    run_virtual(main, seed=seed)
    return order


def test_without_a_seed_tasks_run_in_the_order_of_asyncio() -> None:
    assert order_of_tasks(None) == [0, 1, 2, 3] * 3


def test_a_seed_gives_the_same_order_every_time() -> None:
    assert order_of_tasks(7) == order_of_tasks(7)


def test_seeds_give_many_orders_and_lose_no_step() -> None:
    orders = [order_of_tasks(seed) for seed in range(20)]
    assert len({tuple(order) for order in orders}) > 10
    assert all(sorted(order) == sorted([0, 1, 2, 3] * 3) for order in orders)


def test_a_seed_keeps_the_order_of_plain_callbacks() -> None:
    async def main() -> list[int]:
        called: list[int] = []
        for number in range(100):
            asyncio.get_running_loop().call_soon(called.append, number)
        await asyncio.sleep(1)
        return called

    assert run_virtual(main, seed=3) == list(range(100))


def test_a_seed_keeps_context_variables_out_of_band() -> None:
    mine: ContextVar[int] = ContextVar("mine")

    async def child(number: int) -> bool:
        mine.set(number)
        await asyncio.sleep(0)
        return mine.get() == number

    async def main() -> list[bool]:
        return await asyncio.gather(*(child(number) for number in range(10)))

    assert run_virtual(main, seed=1) == [True] * 10


def test_a_seed_lets_cancellation_through() -> None:
    async def main() -> float:
        tasks = [asyncio.create_task(wait_for_ever()) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        return now()

    assert [run_virtual(main, seed=seed) for seed in range(10)] == [0.0] * 10


def test_the_loop_serves_as_a_loop_factory() -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(asyncio.sleep(1000))
        assert runner.get_loop().time() == 1000
