"""A user's `sink`, `dead_letter` or `on_progress`, called: on the loop, or in a thread of its own where it is `def`."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async.errors import CheckpointMismatch, SinkError, text_of


class Hook:
    """One of them.

    Args:
        function: the bound method.
        name: for the message when it raises.
        thread: where it is called, if not on the loop; one of its own where none is given.

    Attributes:
        name: as given.
        thread: its own; None where it is called on the loop.
        seconds: that its calls have taken.
        busy: whether it is at work.
    """

    def __init__(self, function: Callable[..., Any], name: str, thread: DaemonThread | None = None) -> None:
        self._function = function
        self.name = name
        on_loop = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        self.thread = None if on_loop else thread or DaemonThread(f"pipeframe-{name}_0")
        self.seconds = 0.0
        self.busy = False

    async def __call__(self, *values: Any) -> Any:
        """Call it, and return what it does. One task at a time does.

        Raises:
            SinkError: it raised; that error is the cause.
            CheckpointMismatch: it raised that.

        Cancellation: a coroutine is cancelled where it waits; a call in a thread goes on there, and is left behind.
        """
        started, self.busy = time.perf_counter(), True
        try:
            if self.thread is None:
                return await self._function(*values)  # the user's; anything may happen to the run meanwhile
            call = partial(copy_context().run, self._function, *values)
            # The call is the thread's, also after a cancel here; nobody else uses that thread.
            outcome = await asyncio.get_running_loop().run_in_executor(self.thread, call)
            if inspect.isawaitable(outcome):  # a plain function that hands on what an async one returned
                return await outcome  # the user's too, and on the loop
            return outcome
        except CheckpointMismatch:
            raise
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # ours; otherwise it is of something the hook has waited for
            raise SinkError(f"{self.name} raised CancelledError: what it waited for was cancelled") from error
        except Exception as error:
            raise SinkError(f"{self.name} raised {type(error).__name__}: {text_of(error)}") from error
        finally:
            self.seconds += time.perf_counter() - started
            self.busy = False

    def close(self) -> None:
        """Let the thread go; a call that still runs in it ends by itself."""
        if self.thread is not None:
            self.thread.shutdown()
