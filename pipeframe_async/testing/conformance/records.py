"""What the records of the suite do, in the executor's workers: steps, one way of being bad a name, marks in a file.

A bad record never does harm for ever: what hangs goes on after `HANG` seconds, so that an executor that cannot
end it is told from one that can without waiting for the end of patience.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final, NoReturn

HANG: Final = 3.0
"""Seconds that a record hangs. Shorter, and a slow machine that ends it in time looks like one that does not; longer
is waited for with every executor that cannot."""

LONG: Final = 2.0
"""Seconds that a record goes on which is to be stopped; well above what an end may take."""

BEAT: Final = 0.01
"""Seconds between the signs of life of a record that goes on; see `beat`."""


@dataclass(frozen=True, slots=True)
class Bad:
    """The record that makes the step `act` do what is listed under this name."""

    way: str


@dataclass(frozen=True)
class NotWritten:
    """Raises when it is pickled."""

    name: str = "not written"

    def __reduce__(self) -> NoReturn:
        raise ValueError("cannot be written")


def _not_read(name: str) -> NoReturn:
    raise OSError(f"cannot be read: {name}")


@dataclass(frozen=True)
class NotRead:
    """Pickles, and raises when it is unpickled."""

    name: str = "not read"

    def __reduce__(self) -> tuple[Any, ...]:
        return _not_read, (self.name,)


class NotCarried(Exception):
    """An error without a pickle."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def _raises(make: Callable[[], BaseException]) -> Callable[[], NoReturn]:
    def raising() -> NoReturn:
        raise make()

    return raising


def _kills_itself() -> NoReturn:
    if sys.platform == "win32":
        os.kill(os.getpid(), signal.SIGTERM)  # which is the same there
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(HANG)
    raise AssertionError("survived SIGKILL")


def hold_gil(seconds: float) -> None:
    """Stay in C code with the GIL held for so long, more or less; deaf to signals."""
    rate = max(_rate() for _ in range(3))  # the best of them: one that was disturbed would make it too short
    sum(repeat(1, int(rate * seconds)))


def _rate(count: int = 2_000_000) -> float:
    start = time.perf_counter()
    sum(repeat(1, count))
    return count / max(time.perf_counter() - start, 1e-4)


def _passes(spend: Callable[[float], None], seconds: float) -> Callable[[], tuple[str, bool]]:
    def passing() -> tuple[str, bool]:
        spend(seconds)
        return "late", True

    return passing


WAYS: Final[dict[str, Callable[[], Any]]] = {
    "ValueError": _raises(lambda: ValueError("bad")),
    "StopIteration": _raises(StopIteration),
    "TimeoutError": _raises(TimeoutError),
    "SystemExit": _raises(lambda: SystemExit(3)),
    "KeyboardInterrupt": _raises(KeyboardInterrupt),
    "CancelledError": _raises(asyncio.CancelledError),
    "GeneratorExit": _raises(GeneratorExit),
    "unpicklable error": _raises(lambda: NotCarried("bad")),
    "returns None": lambda: None,
    "returns a bare value": lambda: "value",
    "returns a lock": lambda: (threading.Lock(), True),
    "returns what cannot be read": lambda: (NotRead(), True),
    "os._exit": lambda: os._exit(7),
    "SIGKILL": _kills_itself,
    "segfault": lambda: ctypes.string_at(0),
    "sleeps": _passes(time.sleep, HANG),
    "holds the GIL": _passes(hold_gil, HANG),
    "holds the GIL for a second": _passes(hold_gil, 1.0),
}
"""Ways for a record to be bad, and what the step then does."""


def act(record: Any) -> Any:
    """Do what a bad record says; good ones go on."""
    return WAYS[record.way]() if isinstance(record, Bad) else (record, True)


def act_on_all(records: list[Any]) -> list[Any]:
    """The same for many records at once."""
    return [act(record)[0] for record in records]


def mark(path: str, text: str) -> None:
    """Append a line to a file that all workers share."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def marks(path: str) -> list[str]:
    """The lines so far."""
    return Path(path).read_text("utf-8").splitlines() if Path(path).exists() else []


def note(path: str, record: Any) -> tuple[Any, bool]:
    """A step that leaves a mark of every record it is given."""
    mark(path, repr(record))
    return record, True


def beat(path: str, record: int) -> tuple[int, bool]:
    """A step that is quick with record 0, and takes `LONG` over any other, leaving a mark at each beat."""
    end = time.monotonic() + (LONG if record else 0.0)
    while time.monotonic() < end:
        mark(path, str(record))
        time.sleep(BEAT)
    return record, True


def unequal(record: int) -> tuple[int, bool]:
    """A step that takes longest over the first of every twenty records."""
    time.sleep(0.02 if record % 20 == 0 else 0.0005)
    return record, True


def slow(record: int) -> tuple[int, bool]:
    """A step that takes 5 ms."""
    time.sleep(0.005)
    return record, True
