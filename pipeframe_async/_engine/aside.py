"""A thread for what blocks: calls go to it from the loop, one after the other.

It is a daemon: one whose call hangs is left behind, and keeps no program from ending, as a pool's would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThread(Executor):
    """Calls functions in a thread of its own, one after the other; it begins with the first call, and is a daemon."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it called when those before have returned."""
        return self._put(Future(), partial(fn, *args, **kwargs))

    @property
    def surely(self) -> Executor:
        """It, for calls that are made also where who waits for them is cancelled, which takes others off the queue."""
        return Surely(self._put)

    def _put(self, told: Future[T], call: Callable[[], T]) -> Future[T]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put((told, call))
        return told

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """No more calls come; what is being called ends by itself. Waits for nobody."""
        self._calls.put(None)

    def _main(self) -> None:
        while (asked := self._calls.get()) is not None:
            told, call = asked
            if not told.running() and not told.set_running_or_notify_cancel():
                continue
            try:
                told.set_result(call())
            except BaseException as error:
                told.set_exception(error)


class Surely(Executor):
    """A thread, for calls that are made in any case; `DaemonThread.surely` makes one."""

    def __init__(self, put: Callable[[Future[Any], Callable[[], Any]], Future[Any]]) -> None:
        self._put = put

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it called when those before have returned; that cannot be cancelled."""
        told: Future[T] = Future()
        told.set_running_or_notify_cancel()  # from here on it is not to be cancelled
        return self._put(told, partial(fn, *args, **kwargs))
