"""A user's `sink`, `dead_letter` or `on_progress`, called: on the loop, or in a thread of its own where it is `def`.

The thread is a daemon: one whose call hangs is left behind, and keeps no program from ending, as a pool's would.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any

from pipeframe_async.errors import SinkError, text_of


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
        self._thread = None if on_loop else _Caller(function, name)
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
                outcome = await self._thread.call(values)
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
            self._thread.close()


class _Caller:
    """A daemon thread that makes one call after the other, begun with the first."""

    def __init__(self, function: Callable[[Any], Any], name: str) -> None:
        self._function = function
        self._name = name
        self._calls: SimpleQueue[tuple[Context, Any, asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, value: Any) -> Any:
        """Have it called, with the context variables of whoever asks."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._main, args=(loop,), name=f"pipeframe-{self._name}_0", daemon=True
            )
            self._thread.start()
        told: asyncio.Future[Any] = loop.create_future()
        self._calls.put((copy_context(), value, told))
        return await told  # set by the thread through the loop; a cancel leaves the call to the thread

    def close(self) -> None:
        """No more calls come."""
        self._calls.put(None)

    def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread."""
        while (call := self._calls.get()) is not None:
            context, value, told = call
            try:
                outcome, error = context.run(self._function, value), None
            except BaseException as raised:
                outcome, error = None, raised
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody is left to tell
                loop.call_soon_threadsafe(_tell, told, outcome, error)


def _tell(told: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if told.done():
        return  # nobody waits for it any more
    if error is None:
        told.set_result(outcome)
    elif isinstance(error, StopIteration):  # no future takes that
        told.set_exception(RuntimeError(f"StopIteration: {text_of(error)}"))
    else:
        told.set_exception(error)
