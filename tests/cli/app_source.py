"""A user's module, copied to where the command line is told to look."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pipeframe_async import Delivery, Failure, PipelineEngine


def invert(number: int) -> tuple[float, bool]:
    return 1 / number, True


def double(number: float) -> tuple[float, bool]:
    return 2 * number, True


def hang(number: int) -> tuple[int, bool]:
    time.sleep(1000)
    return number, True


class Inverse(PipelineEngine[int, float]):
    """Works, and fails at zero."""

    steps = [invert, double]
    feed = [1, 2, 3, 4]
    label = "none"
    scale = 1
    ratio = 0.5
    careful = False
    place = Path("here")
    names: list[str] = []
    unset: str
    nothing = None

    async def sink(self, numbers: list[float]) -> None:
        if self.label == "print":
            print(*numbers, sep="\n")


class WithZero(Inverse):
    feed = [1, 2, 0, 4]


class Forgiving(WithZero):
    def dead_letter(self, failures: list[Failure[int]]) -> None:
        pass


class Torn(Inverse):
    async def feed(self) -> AsyncIterator[int]:  # type: ignore[override]
        yield 1
        raise OSError("the disk\x1b[31m has gone")


class Feedless(PipelineEngine[int, float]):
    steps = [invert]


class Locked(Inverse):
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def setup(self) -> None:
        pass


class Needy(Inverse):
    def __init__(self, table: str) -> None:
        self.table = table


class Failing(Inverse):
    def __init__(self) -> None:
        raise LookupError("no table")


class Endless(Inverse):
    """Makes a file of the name in STARTED when it is at work."""

    source = "stream"
    timeout = None
    steps = [double]

    async def feed(self) -> AsyncIterator[int]:  # type: ignore[override]
        for number in range(1, 10**9):
            yield number
            await asyncio.sleep(0.001)
            if number == 50:
                os.close(os.open(os.environ["STARTED"], os.O_CREAT))


class Hanging(Endless):
    steps = [hang]


needy = Needy("orders")
number = 42


class AcksFail(Inverse):
    """Its source takes no acks."""

    async def feed(self) -> AsyncIterator[Delivery[int]]:  # type: ignore[override]
        def gone() -> None:
            raise ConnectionError("the broker is gone")

        yield Delivery(1, ack=gone)
