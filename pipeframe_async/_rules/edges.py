"""What an object that feeds a run, or takes what comes of it, says of itself: found before anything starts, by looking.

Comes in: what a class has as `feed`, `sink` or `dead_letter`, or what was passed for it. Goes out: how it is opened and
closed, and what of it is run in workers.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from pipeframe_async.errors import ConfigError

SINK_REMEDY = (
    "a method that takes one list, or an object with `write(self, records)`; for files see pipeframe_async.sinks"
)


class Life(Enum):
    """How an object is opened and closed."""

    ASYNC = "__aenter__ and __aexit__, on the loop"
    SYNC = "__enter__ and __exit__, in a thread"


@dataclass(frozen=True, slots=True)
class Edge:
    """An object with a life, at one end of a pipeline.

    Attributes:
        role: `"feed"`, `"sink"` or `"dead_letter"`.
        owner: the pipeline's name.
        value: the object.
        life: how it is opened and closed.
        shared: it may be used in several runs at once.
        whole: what it was given is there when it has been closed well, and not before.
    """

    role: str
    owner: str
    value: Any
    life: Life
    shared: bool
    whole: bool = False

    def __str__(self) -> str:
        return f"the {self.role} of {self.owner}, {type(self.value).__name__}"


def edge_of(value: Any, role: str, owner: str) -> Edge | None:
    """What is opened before the first record and closed after the last; None where there is nothing of the kind."""
    kind = type(value)
    if callable(getattr(kind, "__aenter__", None)) and callable(getattr(kind, "__aexit__", None)):
        life = Life.ASYNC
    elif callable(getattr(kind, "__enter__", None)) and callable(getattr(kind, "__exit__", None)):
        life = Life.SYNC
    else:
        return None
    return Edge(role, owner, value, life, bool(getattr(value, "shared", False)), getattr(value, "whole", False) is True)


def plain_function(value: Any, attribute: str, place: str) -> Callable[[Any], Any] | None:
    """A source's `decode` or a sink's `encode`; None where it has none.

    Raises:
        ConfigError: it cannot be run in a worker, on one record.
    """
    if (function := getattr(value, attribute, None)) is None:
        return None
    where = f"{place}.{attribute}={function!r}"
    if not callable(function) or inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"{where}: must be a def function of one record that returns one; it runs in the workers")
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise ConfigError(f"{where} cannot be called with one record: {error}") from error
    except ValueError:  # a builtin without a signature: only calling it will tell
        pass
    return function  # type: ignore[no-any-return]


def writes(value: Any, place: str) -> Callable[..., Any] | None:
    """The `write` of a sink object; None where it is a function, or has none.

    Raises:
        ConfigError: it is an open file, which takes text or bytes and no lists; or a class.
    """
    if isinstance(value, type):
        raise ConfigError(f"{place}={value.__name__} is a class: write {value.__name__}(...), or a function")
    if isinstance(value, io.IOBase):
        raise ConfigError(f"{place}={value!r} is a file, which takes no lists of records: write {SINK_REMEDY}")
    if inspect.isroutine(value):
        return None
    write = getattr(value, "write", None)
    return write if callable(write) else None


class Back(NamedTuple):
    """How what takes results, or failures, says where it is, and is set back to there."""

    position: Callable[[], Any]
    restore: Callable[[Any], Any]


def back_of(value: Any) -> Back | None:
    """None where it cannot be set back."""
    found = [getattr(value, attribute, None) for attribute in ("position", "restore")]
    return Back(*found) if all(map(callable, found)) else None  # type: ignore[arg-type]


def wants_keys(write: Callable[..., Any]) -> bool:
    """Whether `write` is called with the deliveries' keys beside the records."""
    try:
        inspect.signature(write, follow_wrapped=False).bind((), ())
    except (TypeError, ValueError):
        return False
    return True
