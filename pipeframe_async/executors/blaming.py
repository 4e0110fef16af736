"""Which part of something cannot be sent to workers: the global, the attribute or the variable that is the reason.

Comes in: what could not be defined. Goes out: a path of names, for a message.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from cloudpickle import cloudpickle as parts

from pipeframe_async.executors.defining.definer import define
from pipeframe_async.executors.defining.modules import by_value
from pipeframe_async.shared import Shared

DEEPEST = 12
"""Steps down. Whatever is deeper is not what somebody would look for by its name."""

Hooks = Callable[[FunctionType], Any] | None


class Blamed(NamedTuple):
    """A path to what cannot be sent, and what was raised for it; `held`: by a module or class of the program."""

    path: str
    error: BaseException
    held: bool = False


def culprit(value: Any, name: str, hooks: Hooks = None) -> Blamed | None:
    """The innermost named thing that cannot be sent; None where all of it can."""
    seen: set[int] = set()
    return _culprit(Blamed(name, TypeError()), value, hooks, seen, DEEPEST)


def _culprit(at: Blamed, value: Any, hooks: Hooks, seen: set[int], depth: int) -> Blamed | None:
    if id(value) in seen or (error := _error(value, hooks, at.held)) is None:
        return None
    seen.add(id(value))
    for path, inner, held in _inside(value, at.path) if depth else ():
        if (found := _culprit(Blamed(path, error, held or at.held), inner, hooks, seen, depth - 1)) is not None:
            return found
    return at._replace(error=error)


def _error(value: Any, hooks: Hooks, held: bool) -> BaseException | None:
    try:
        define(value, hooks=hooks, held=held)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None


def _inside(value: Any, path: str) -> Iterator[tuple[str, Any, bool]]:
    """What it refers to by a name."""
    value = getattr(value, "__func__", value)
    if isinstance(value, Shared):
        return  # what it has is pickled in another way, and its error says more
    if isinstance(value, FunctionType):
        if by_value(value.__module__):
            for name in parts._extract_code_globals(value.__code__):
                if name in value.__globals__:
                    yield f"the global {name!r} of {value.__module__}", value.__globals__[name], True
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield f"the variable {name!r} of {value.__qualname__}", cell.cell_contents, False
            except ValueError:
                continue
        return
    if isinstance(value, type):
        if by_value(value.__module__):
            for name, inner in vars(value).items():
                if not name.startswith("__") or isinstance(inner, FunctionType):
                    yield f"the attribute {name!r} of {value.__qualname__}", inner, True
        return
    wrapped = getattr(value, "__wrapped__", None)
    if wrapped is not None:
        yield path, wrapped, False
    if isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield path, inner, False
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{name!r} in {path}", inner, False
    else:
        yield path, type(value), False
        for name, inner in getattr(value, "__dict__", {}).items():
            yield f"the attribute {name!r} of {type(value).__qualname__}", inner, False
        for inner in gc.get_referents(value):  # slots, and what a partial holds
            if not isinstance(inner, (type, ModuleType, dict)):
                yield path, inner, False
