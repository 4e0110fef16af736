"""Pipelines whose steps log, in a module as applications have them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeframe_async import Failure, PipelineEngine

log = logging.getLogger("tests.steps")


def says(record: int) -> tuple[int, bool]:
    log.info("record %d", record, extra={"record": record, "what": object})
    return record, True


def says_more(record: int) -> tuple[int, bool]:
    log.debug("more of %d", record)
    try:
        raise KeyError(record)
    except KeyError:
        log.exception("no %d", record)
    return record, True


def many(record: int) -> tuple[int, bool]:
    for number in range(record):
        log.info("%d", number)
    return record, True


def says_and_waits(record: str) -> tuple[str, bool]:
    """Goes on when somebody has read its line and made that file."""
    log.info("waiting")
    until = time.monotonic() + 20
    while not os.path.exists(record) and time.monotonic() < until:
        time.sleep(0.005)
    return record, os.path.exists(record)


def dies(record: int) -> tuple[int, bool]:
    log.info("at %d", record)
    if record == 3:
        log.error("this is the end", extra={"why": "unknown"})
        os.kill(os.getpid(), signal.SIGKILL)
    return record, True


def hangs(record: int) -> tuple[int, bool]:
    log.info("at %d", record)
    if record == 3:
        print("half a line", end="")
        signal.pause()
    return record, True


def warns(record: int) -> tuple[int, bool]:
    warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    return record, True


def half_lines(record: int) -> tuple[int, bool]:
    print(f"<{record}>", end="")
    return record, True


class Says(PipelineEngine[int, int]):
    source = "stream"
    steps: Sequence[Any] = (says,)

    def __init__(self, feed: Sequence[Any] = range(100)) -> None:
        self.feed = feed


class Hooks(Says):
    def setup(self) -> None:
        log.warning("setup")

    def teardown(self) -> None:
        log.warning("teardown")


class SaysMore(Says):
    steps = (says, says_more)


class Many(Says):
    steps = (many,)


class Waits(Says):
    steps = (says_and_waits,)


class Warns(Says):
    steps = (warns,)


class HalfLines(Says):
    steps = (half_lines,)


class Dies(Says):
    steps: Sequence[Any] = (dies,)
    max_failures = 10

    def __init__(self, feed: Sequence[Any] = range(6)) -> None:
        super().__init__(feed)
        self.failures: list[Failure[int]] = []

    def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.failures += failures


class Hangs(Dies):
    steps = (hangs,)
    time_limit = 0.5


class Own(Says):
    """Writes to a file of its own in `setup`."""

    def __init__(self, path: Path) -> None:
        super().__init__(range(3))
        self.path = path

    def setup(self) -> None:
        handler = logging.FileHandler(self.path)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)


async def on_the_loop(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0)
    return record, True


class Mixed(Says):
    """Its second run of `def` steps has records that go alone."""

    steps = (says, on_the_loop, says)


class Unreadable:
    """Is sent, and cannot be read."""

    def __reduce__(self) -> Any:
        return _no, ()


def _no() -> None:
    raise ValueError("it cannot be read")


class WithGaps(Dies):
    steps = (says,)
