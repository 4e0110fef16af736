"""A user's `sink`, `dead_letter` or `on_progress`, called: on the loop, or in a thread of its own where it is `def`.

The thread is a daemon: one whose call hangs is left behind, and keeps no program from ending, as a pool's would.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from pipeframe_async.errors import SinkError, text_of

P = ParamSpec("P")
T = TypeVar("T")


class Hook:
    """One of them.

    Args:
        function: the bound method.
        name: for the message when it raises.

    Attributes:
        seconds: that its calls have taken.
        busy: whether it is at work.
    """

    def __init__(self, function: Callable[[Any], Any], name: str) -> None:
        self._function = function
        self._name = name
        on_loop = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        self._thread = None if on_loop else DaemonThread(f"pipeframe-{name}_0")
        self.seconds = 0.0
        self.busy = False

    async def __call__(self, values: Any) -> None:
        """Call it. One task at a time does.

        Raises:
            SinkError: it raised; that error is the cause.

        Cancellation: a coroutine is cancelled where it waits; a call in a thread goes on there, and is left behind.
        """
        started, self.busy = time.perf_counter(), True
        try:
            if self._thread is None:
                await self._function(values)  # the user's; anything may happen to the run meanwhile
            else:
                call = partial(copy_context().run, self._function, values)
                outcome = await asyncio.get_running_loop().run_in_executor(self._thread, call)
                if inspect.isawaitable(outcome):  # a plain function that hands on what an async one returned
                    await outcome
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # ours; otherwise it is of something the hook has waited for
            raise SinkError(f"{self._name} raised CancelledError: what it waited for was cancelled") from error
        except Exception as error:
            raise SinkError(f"{self._name} raised {type(error).__name__}: {text_of(error)}") from error
        finally:
            self.seconds += time.perf_counter() - started
            self.busy = False

    def close(self) -> None:
        """Let the thread go; a call that still runs in it ends by itself."""
        if self._thread is not None:
            self._thread.shutdown()


class DaemonThread(Executor):
    """Calls functions in a thread of its own, one after the other; it begins with the first call, and is a daemon."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it called when those before have returned."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        told: Future[T] = Future()
        self._calls.put((told, partial(fn, *args, **kwargs)))
        return told

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """No more calls come; what is being called ends by itself. Waits for nobody."""
        self._calls.put(None)

    def _main(self) -> None:
        while (asked := self._calls.get()) is not None:
            told, call = asked
            if not told.set_running_or_notify_cancel():
                continue
            try:
                told.set_result(call())
            except BaseException as error:
                told.set_exception(error)
