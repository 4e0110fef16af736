"""Pipelines for the cluster. Their functions travel by value: workers there need not have the tests."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipeframe_async import DROP, Failure, PipelineEngine

POISON = {7: "raised", 50: "crashed", 90: "crashed", 120: "timeout", 140: "unpicklable", 160: "crashed"}
"""What `bad` does to whom."""


class Kept(PipelineEngine[Any, Any]):
    """Keeps its results and failures."""

    batch_size: int | None = 16

    def __init__(self, *steps: Callable[..., Any], **attributes: Any) -> None:
        self.steps = steps
        self.taken: list[Any] = []
        self.dead: list[Failure[Any]] = []
        for name, value in attributes.items():
            setattr(self, name, value)

    async def sink(self, records: list[Any]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures


def same(number: int) -> tuple[int, bool]:
    return number, True


def twice(number: int) -> tuple[int, bool]:
    return 2 * number, True


async def more(number: int) -> tuple[int, bool]:
    return number + 1, True


def odd(number: int) -> Any:
    return (number, True) if number % 2 else DROP


def past_threes(number: int) -> tuple[int, bool]:
    return number, number % 3 != 0


def both(number: int) -> Iterator[tuple[int, bool]]:
    yield number, True
    yield -number, True


def bad(number: int) -> Any:
    if number == 7:
        raise ValueError("seven")
    if number == 50:
        os._exit(3)
    if number == 90:
        ctypes.string_at(0)
    if number == 120:
        time.sleep(100)
    if number == 140:
        return (lambda: number), True
    if number == 160:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, True


def slow(number: int) -> tuple[int, bool]:
    time.sleep(0.01)
    return number, True


def forever(number: int) -> tuple[int, bool]:
    time.sleep(1000)
    return number, True
