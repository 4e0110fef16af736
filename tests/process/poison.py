"""Ten kinds of faulty records for a run under fire, and the step that meets them.

Workers import this module again and again while they are killed, so it is thin.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Poison(NamedTuple):
    """A record that makes its step do a fault, with its place among the records."""

    place: int
    kind: str


class Unreadable:
    """A record that raises where it is read; its bytes say its place too."""

    def __init__(self, place: int) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return cannot_be_read, (f"place:{self.place}",)


def cannot_be_read(where: str) -> Any:
    raise OSError(f"{where} cannot be read")


def unwritable(place: int) -> Any:
    """A record that has no pickle."""

    def function() -> None: ...

    function.place = place  # type: ignore[attr-defined]
    return function


def raises() -> Any:
    raise ValueError("bad")


def segfaults() -> Any:
    import ctypes

    ctypes.string_at(0)


def kills_itself() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1000)


DOES: dict[str, Callable[[], Any]] = {
    "raises": raises,
    "exits": lambda: sys.exit(3),
    "returns nothing": lambda: None,
    "makes what has no pickle": lambda: (threading.Lock(), True),
    "leaves": lambda: os._exit(7),
    "segfaults": segfaults,
    "kills itself": kills_itself,
    "hangs": lambda: time.sleep(1000),
}
"""What the step does that meets such a record."""

MAKES: dict[str, Callable[[int], Any]] = {"has no pickle": unwritable, "cannot be read": Unreadable}
"""Records that are at fault themselves."""

KINDS: dict[str, frozenset[str]] = {
    "raises": frozenset({"raised"}),
    "exits": frozenset({"raised"}),
    "returns nothing": frozenset({"raised"}),
    "makes what has no pickle": frozenset({"unpicklable"}),
    "has no pickle": frozenset({"unpicklable"}),
    "cannot be read": frozenset({"unpicklable"}),
    "leaves": frozenset({"crashed"}),
    "segfaults": frozenset({"crashed"}),
    "kills itself": frozenset({"crashed"}),
    "hangs": frozenset({"timeout", "crashed"}),
}
"""What each may end as: one that hangs may be killed from outside each time it is tried."""


def made(place: int, kind: str) -> Any:
    """A faulty record of this kind."""
    return MAKES[kind](place) if kind in MAKES else Poison(place, kind)


def work(record: Any) -> Any:
    """A good record, `(place, seconds)`, takes as long as it says; a faulty one does its fault."""
    if type(record) is Poison:
        return DOES[record.kind]()
    place, seconds = record
    if seconds:
        time.sleep(seconds)
    return place, True


def passes_on(record: Any) -> tuple[Any, bool]:
    return record, True
