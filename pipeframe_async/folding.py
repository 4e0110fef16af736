"""`fold`: a sink that makes one value of all results. It opens nothing and knows of no run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from copy import deepcopy
from functools import reduce
from typing import Any, Generic, TypeVar

from pipeframe_async.errors import ConfigError

Value = TypeVar("Value")


class Fold(Generic[Value]):
    """What `fold` makes.

    Attributes:
        value: what the results so far have come to; between two runs, those of the last one.
    """

    def __init__(self, fn: Callable[[Value, Any], Value], initial: Value) -> None:
        if not callable(fn):
            raise ConfigError(f"fold({fn!r}): needs a function of a value and a result, which returns the next value")
        if inspect.iscoroutinefunction(fn):
            raise ConfigError(f"fold({fn!r}): nobody awaits it: make it def, or write an async def sink of your own")
        self._fn = fn
        self._initial = initial
        self.value: Value = deepcopy(initial)

    def __enter__(self) -> None:
        self.value = deepcopy(self._initial)

    def __exit__(self, *_: object) -> None:
        """The value stays."""

    def write(self, records: list[Any]) -> None:
        """Take results."""
        self.value = reduce(self._fn, records, self.value)

    def position(self) -> str:
        """The value as JSON, for a job that goes on: what is kept must not change with the value.

        Raises:
            TypeError: JSON does not give it back as it is.
        """
        try:
            text = json.dumps(self.value)
            stays = json.loads(text) == self.value and _plain(self.value)
        except (TypeError, ValueError):
            stays = False
        if not stays:
            raise TypeError(f"in a job with a checkpoint a fold needs a value that JSON gives back, not {self.value!r}")
        return text

    def restore(self, position: str | None) -> None:
        """Go on with the value of an earlier life."""
        self.value = deepcopy(self._initial) if position is None else json.loads(position)


def _plain(value: object) -> bool:
    """Whether dicts and lists are just that: a `Counter` equals a dict, and would come back as one."""
    if isinstance(value, dict):
        return type(value) is dict and all(map(_plain, value.values()))
    return not isinstance(value, list) or (type(value) is list and all(map(_plain, value)))


def fold(fn: Callable[[Value, Any], Value], initial: Value) -> Fold[Value]:
    """Make a sink that reduces all results to one value, which is its `value` then.

    Args:
        fn: gets the value so far and a result, returns the next value; it may change and return the one it was given.
            As `functools.reduce`.
        initial: what each run begins with: a copy of it, by `copy.deepcopy`. In a job with a `checkpoint` the value is
            kept with its state: then it must be one that JSON gives back as it is, which a
            `Counter` is not.

    Returns:
        The sink; its `value` is there also while the run goes on, of all results it has taken so far.

    Raises:
        ConfigError: `fn` is not callable. Of a run: `SinkError` where `fn` has raised; `value` is that of the results
            before its list.

    Process: the parent, in a thread, list by list in the pipeline's `order`. What takes long belongs into a step.
    """
    return Fold(fn, initial)
