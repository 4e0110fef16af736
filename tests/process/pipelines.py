"""Pipelines for tests with real workers: steps live in an importable module, as they do in an application."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from typing import Any

from pipeframe_async import DROP, Failure, PipelineEngine

Step = Callable[..., Any]


def add_one(record: int) -> tuple[int, bool]:
    return record + 1, True


def double(record: int) -> tuple[int, bool]:
    return record * 2, True


def unlucky(record: int) -> tuple[int, bool]:
    if record % 100 == 13:
        raise ValueError(f"{record} is unlucky")
    return record, True


def keep_even(record: int) -> Any:
    return (record, True) if record % 2 == 0 else DROP


def stop_at_ten(record: int) -> tuple[int, bool]:
    return record, record < 10


def twice(record: int) -> Generator[tuple[int, bool], None, None]:
    yield record, True
    yield record, True


def kill_at_three(record: int) -> tuple[int, bool]:
    if record == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return record, True


def exit_at_three(record: int) -> tuple[int, bool]:
    if record == 3:
        os._exit(7)
    return record, True


def hang(record: int) -> tuple[int, bool]:
    signal.pause()
    return record, True


def pid(record: int) -> tuple[int, bool]:
    return os.getpid(), True


class Numbers(PipelineEngine[int, int]):
    """Counts to `n`; keeps what its sink is given."""

    source = "stream"
    steps: Sequence[Step] = (add_one, double)

    def __init__(self, n: int = 100) -> None:
        self.n = n
        self.closed = False

    async def feed(self) -> AsyncIterator[int]:
        try:
            for i in range(self.n):
                yield i
        finally:
            self.closed = True


class Collected(Numbers):
    """Numbers whose results are kept."""

    def __init__(self, n: int = 100) -> None:
        super().__init__(n)
        self.taken: list[Any] = []
        self.dead: list[Failure[int]] = []

    async def sink(self, records: list[Any]) -> None:
        self.taken += records


class Unlucky(Collected):
    steps = (unlucky, double)

    async def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.dead += failures


class Forever(Numbers):
    """A stream that never ends and never dries."""

    timeout = None

    async def feed(self) -> AsyncIterator[int]:
        try:
            i = 0
            while True:
                yield i
                i += 1
                if i % 50 == 0:
                    await asyncio.sleep(0)
        finally:
            self.closed = True


class Hanging(Forever):
    steps = (hang,)


class Warmed(Collected):
    """Steps that are methods, and use what `setup` has made."""

    def __init__(self, n: int, log: str) -> None:
        super().__init__(n)
        self.log = log

    def setup(self) -> None:
        self.offset = 1000
        self.note("setup")

    def teardown(self) -> None:
        self.note("teardown")

    def note(self, word: str) -> None:
        with open(self.log, "a") as file:
            file.write(f"{word} {os.getpid()}\n")

    def shift(self, record: int) -> tuple[int, bool]:
        return record + self.offset, True

    steps = (shift,)


class Original(PipelineEngine[int, int]):
    """The original's shape: a static feed with a bucket, and a batch source."""

    steps = (add_one,)

    @staticmethod
    def feed(bucket: Any) -> None:
        for i in range(10):
            bucket.put(i)


def count_to(n: int) -> Iterator[int]:
    yield from range(n)
