"""An event loop whose time is virtual: sleeping costs nothing, and a hang is a failure that says where.

The clock stands still while anything can run and jumps to the next timer when nothing can. It is built on
what asyncio offers in public: a selector of our own, and `time`, `call_soon`, `run_in_executor` and
`shutdown_default_executor` overridden. It reads no private attribute of asyncio.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple

from pipeframe_async._engine.aside import DaemonThread, Surely
from pipeframe_async._engine.stall import describe

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DEFAULT_LIMIT: Final = 3600.0
"""Virtual seconds. Smaller fails tests of long idle times; larger lets an endless ticker run on for long."""

DEFAULT_PATIENCE: Final = 5.0
"""Real seconds. Smaller gives up on threads of a busy machine; larger delays a failure that involves one."""

MOST_TURNS_LATE: Final = 2
"""Loop turns. At 0 a seed changes nothing; far above 2 the orders found get no more various, only slower."""


class Deadlock(AssertionError):
    """Nothing is ready and nothing is scheduled: the loop would wait for ever. Lists the pending tasks."""


class Overdue(AssertionError):
    """The virtual clock would pass its limit: something goes on for ever. Lists the pending tasks."""


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock, which starts at 0.0.

    When nothing is ready, the clock jumps to the next timer. When nothing is scheduled either, `Deadlock` is
    raised out of the run, instead of a wait without end.

    Calls to the default executor, to a `ThreadPoolExecutor` or to a `ProcessPoolExecutor` are real work: the
    clock stands still until they answer. Threads that were started by other means are unknown to the loop; it
    waits for them only before it declares a deadlock.

    Args:
        limit: virtual seconds after which `Overdue` is raised.
        seed: None keeps asyncio's order. A number lets steps of tasks run up to two turns of the loop late,
            drawn from that seed, to find code that relies on the order in which tasks happen to run. The
            order of plain callbacks, which asyncio promises, is kept.
        patience: real seconds to wait for a thread or process that works for the loop. One that has not
            answered by then is taken to wait for the loop itself, and the clock goes on.
    """

    def __init__(
        self, *, limit: float = DEFAULT_LIMIT, seed: int | None = None, patience: float = DEFAULT_PATIENCE
    ) -> None:
        self._now = 0.0
        self._limit = limit
        self._extension = limit
        self._patience = patience
        self._order = None if seed is None else random.Random(seed)
        self._real_calls = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def _real_wait(self, *, forever: bool) -> float:
        # Real seconds worth waiting for others before the clock jumps, or before a wait without end.
        others = self._real_calls > 0 or (forever and threading.active_count() > 1)
        return self._patience if others else 0.0

    def _jump(self, seconds: float) -> None:
        if self._now + seconds > self._limit:
            # The tasks still have to be cancelled, on this loop: they get as much time again.
            passed, self._limit = self._limit, self._now + self._extension
            raise Overdue(f"still running after {passed:g} virtual seconds\n{describe(asyncio.all_tasks(self))}")
        self._now += seconds

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's, but with a seed, steps of tasks may run a few turns late."""
        if self._order is not None and isinstance(getattr(callback, "__self__", None), asyncio.Task):
            turns = self._order.randint(0, MOST_TURNS_LATE)
            return self._call_late(turns, partial(callback, *args), context)
        return super().call_soon(callback, *args, context=context)

    def _call_late(self, turns: int, callback: Callable[[], object], context: Context | None) -> asyncio.Handle:
        if turns == 0:
            return super().call_soon(callback, context=context)
        return super().call_soon(self._call_late, turns - 1, callback, context)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As asyncio's; the clock stands still while threads and processes work."""
        future = super().run_in_executor(executor, func, *args)
        if executor is None or isinstance(executor, ThreadPoolExecutor | ProcessPoolExecutor | DaemonThread | Surely):
            self._real_calls += 1
            future.add_done_callback(self._real_call_done)
        return future

    def _real_call_done(self, _: asyncio.Future[Any]) -> None:
        self._real_calls -= 1

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """As asyncio's; the clock stands still while the threads end."""
        self._real_calls += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._real_calls -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits where the clock can jump instead. The loop calls `select` once a turn."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        patience = self._loop._real_wait(forever=timeout is None)
        if patience and (events := super().select(patience)):
            return events
        if timeout is None:
            raise Deadlock(f"nothing is ready and nothing is scheduled\n{describe(asyncio.all_tasks(self._loop))}")
        self._loop._jump(timeout)
        return events


def run_virtual(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
    *,
    limit: float = DEFAULT_LIMIT,
    seed: int | None = None,
    patience: float = DEFAULT_PATIENCE,
) -> T:
    """Run a coroutine to its end on a new `VirtualClockLoop`, as `asyncio.run` does on a real one.

    Args:
        main: a coroutine, or a function without arguments that makes one.
        limit: virtual seconds the run may take.
        seed: see `VirtualClockLoop`.
        patience: see `VirtualClockLoop`.

    Returns:
        What the coroutine returned.

    Raises:
        Deadlock: nothing could ever run again. All tasks have been cancelled and the loop is closed.
        Overdue: the limit was passed. All tasks have been cancelled and the loop is closed.
    """

    def new_loop() -> VirtualClockLoop:
        return VirtualClockLoop(limit=limit, seed=seed, patience=patience)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main if isinstance(main, Coroutine) else main())
