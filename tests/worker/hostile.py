"""Records, results and errors that do harm when they are pickled, read, printed or compared, and steps for them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any


def end_the_program() -> Any:
    sys.exit("a record ended the program")


def cannot_be_read() -> Any:
    raise OSError("cannot be read")


class ExitsWhenPickled:
    def __reduce__(self) -> tuple[Any, ...]:
        sys.exit(1)


class InterruptsWhenPickled:
    def __reduce__(self) -> tuple[Any, ...]:
        raise KeyboardInterrupt


class RaisesWhenPickled:
    def __getstate__(self) -> object:
        raise ValueError("no state to give")


class ExitsWhenRead:
    def __reduce__(self) -> tuple[Any, ...]:
        return end_the_program, ()


class RaisesWhenRead:
    def __reduce__(self) -> tuple[Any, ...]:
        return cannot_be_read, ()


class RecursesWhenPickled:
    def __getstate__(self) -> object:
        return RecursesWhenPickled()


class OneWay:
    """Pickles, and is read as something that does not pickle again: an open file, a connection, a lock."""

    def __reduce__(self) -> tuple[Any, ...]:
        return threading.Lock, ()


class TwoArguments(Exception):
    """Cannot be unpickled: pickle calls it with one."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")


class HoldsALock(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class ErrorExitsWhenPickled(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        sys.exit(1)


class CannotBePrinted(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class ExitsWhenPrinted(Exception):
    def __str__(self) -> str:
        sys.exit(1)

    __repr__ = __str__


ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("bad"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "StopIteration": StopIteration,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "TimeoutError": TimeoutError,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "BrokenPipeError": BrokenPipeError,
    "TwoArguments": lambda: TwoArguments(404, "not found"),
    "HoldsALock": lambda: HoldsALock("locked"),
    "ErrorExitsWhenPickled": ErrorExitsWhenPickled,
    "CannotBePrinted": CannotBePrinted,
    "ExitsWhenPrinted": ExitsWhenPrinted,
    "ExceptionGroup": lambda: ExceptionGroup("several", [HoldsALock("in a group"), CannotBePrinted()]),
}
"""Ways a step may fail, by the name of what it raises."""

UNWRITABLE: dict[str, Callable[[], Any]] = {
    "a lambda": lambda: lambda: None,
    "a lock": threading.Lock,
    "a generator": lambda: (n for n in range(3)),
    "ExitsWhenPickled": ExitsWhenPickled,
    "InterruptsWhenPickled": InterruptsWhenPickled,
    "RaisesWhenPickled": RaisesWhenPickled,
    "RecursesWhenPickled": RecursesWhenPickled,
}
"""Values that have no pickle."""

UNREADABLE: dict[str, Callable[[], Any]] = {"ExitsWhenRead": ExitsWhenRead, "RaisesWhenRead": RaisesWhenRead}
"""Values whose pickle cannot be read."""


# Steps. A record is a dict with a number; `{"n": 3, "raise": "SystemExit"}` fails so, and
# `{"n": 3, "make": "a lock"}` becomes that.


def passes(record: Any) -> tuple[Any, bool]:
    return record, True


def does(record: Any) -> tuple[Any, bool]:
    """Changes the record first, so that what a failure shows can be told from what was fed."""
    if isinstance(record, dict):
        kind, made = record.pop("raise", None), record.pop("make", None)
        record["changed"] = True
        if kind is not None:
            raise ERRORS[kind]()
        if made is not None:
            return {**UNWRITABLE, **UNREADABLE}[made](), True
    return record, True


def three_times(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Children a, b, c; only b is told what to raise or make."""
    told = {key: value for key, value in record.items() if key != "n"}
    yield {"n": record["n"], "child": "a"}, True
    yield {"n": record["n"], "child": "b", **told}, True
    yield {"n": record["n"], "child": "c"}, False


def fails_midway(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    yield {"n": record["n"], "child": "a"}, True
    does(record)
    yield {"n": record["n"], "child": "b"}, True
