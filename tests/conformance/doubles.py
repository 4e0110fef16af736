"""Executors that break a guarantee, for the suite to find out; importable, as an executor of an application is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NoReturn


class Deserting(ThreadPoolExecutor):
    """Takes work and never answers."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return Future()


class Blocking(ThreadPoolExecutor):
    """Never comes back from taking work, and holds the loop up with it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> NoReturn:
        while True:
            time.sleep(1000)


class Exiting(ThreadPoolExecutor):
    """Ends its program, not without a word."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> NoReturn:
        os.write(2, b"out of licences\n")
        os._exit(3)


class Pruning(ThreadPoolExecutor):
    """Forgets a result of each batch, and says so nowhere."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def pruned() -> Any:
            reply = fn(*args, **kwargs)
            return reply._replace(delivered=reply.delivered - 1)

        return super().submit(pruned)


class StubbornlyOpen(ThreadPoolExecutor):
    """Takes work after it was shut down."""

    def __init__(self) -> None:
        super().__init__(2)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


class ClosedAtOnce(ThreadPoolExecutor):
    """Is shut down when it is made."""

    def __init__(self) -> None:
        super().__init__(2)
        self.shutdown()


def nothing() -> Executor:
    return None  # type: ignore[return-value]


def unlucky() -> Executor:
    raise OSError("no cluster today")


def fatal() -> Executor:
    os._exit(4)
