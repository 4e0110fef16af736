"""Kinds of value that neither pickle nor cloudpickle takes apart, or not so that they can be made once in a module.

One function a kind, from a value to what pickle is told; None where there is nothing to add.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import threading
import typing
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Protocol

from cloudpickle import cloudpickle as parts

from pipeframe_async._worker import making
from pipeframe_async.executors.defining.modules import by_value, importable

_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_ALIAS = getattr(typing, "TypeAliasType", None)


class Taking(Protocol):
    """What a reducer needs of the pickler.

    Attributes:
        modules: whose definitions travel.
        held: the value is inside of one that a module or class of the program holds.
    """

    modules: set[str]
    held: int

    def named(self, obj: Any, make: Any, arguments: Any, fill: Any = None, value: Any = None, name: str = "") -> Any:
        """Something that its module may have under its name."""

    def in_box(self, box: making.Box) -> Iterator[Any]:
        """What a box holds, as held."""


class Boxed:
    """A box on its way into a pickle."""

    def __init__(self, box: making.Box) -> None:
        self.box = box


def _lock(taking: Taking, obj: Any) -> Any:
    return (_maker_of(type(obj)), ()) if taking.held else None


def _maker_of(kind: type) -> Callable[[], Any]:
    return threading.Lock if kind is _LOCKS[0] else threading.RLock


def _cache(taking: Taking, obj: Any) -> Any:
    if importable(obj):
        return None
    wanted = obj.cache_parameters()
    attributes = {name: value for name, value in vars(obj).items() if name not in ("__wrapped__", "cache_parameters")}
    arguments = (wanted["maxsize"], wanted["typed"], obj.__wrapped__)
    return taking.named(obj, making.cache, arguments, making.fill_attributes, attributes)


def _new_type(taking: Taking, obj: Any) -> Any:
    if not by_value(obj.__module__):
        return None
    arguments = (obj.__name__, obj.__module__, obj.__qualname__, obj.__supertype__)
    return taking.named(obj, making.new_type, arguments)


def _of_typing(taking: Taking, obj: Any) -> Any:
    """ParamSpec and TypeVarTuple, which know the module they were made in."""
    if not by_value(obj.__module__):
        return None
    return taking.named(obj, making.attributed, (type(obj), obj.__module__, obj.__name__))


def _type_var(taking: Taking, obj: Any) -> Any:
    if not by_value(obj.__module__):
        return None
    described = (obj.__name__, obj.__bound__, obj.__constraints__, obj.__covariant__, obj.__contravariant__, None)
    return taking.named(obj, making.attributed, (parts._make_typevar, obj.__module__, *described))


def _alias(taking: Taking, obj: Any) -> Any:
    if not by_value(obj.__module__):
        return None
    return taking.named(obj, making.alias, (obj.__name__, obj.__value__, obj.__type_params__))


def _context_var(taking: Taking, obj: Any) -> Any:
    try:
        default = (contextvars.Context().run(obj.get),)
    except LookupError:
        default = ()  # type: ignore[assignment]
    return making.context_var, (obj.name, *default)


def _module(taking: Taking, obj: ModuleType) -> Any:
    if not by_value(obj.__name__):
        return None
    taking.modules.add(obj.__name__)
    return making.module, (obj.__name__,)


def _weak(taking: Taking, obj: Any) -> Any:
    return type(obj), (dict(obj),)


def _missing(taking: Taking, obj: Any) -> Any:
    return getattr, (dataclasses, "MISSING" if obj is dataclasses.MISSING else "KW_ONLY")


REDUCERS: dict[type, Callable[[Taking, Any], Any]] = {
    Boxed: lambda taking, obj: (making.Box, (), None, taking.in_box(obj.box)),
    functools._lru_cache_wrapper: _cache,
    typing.NewType: _new_type,
    typing.TypeVar: _type_var,
    typing.ParamSpec: _of_typing,
    typing.TypeVarTuple: _of_typing,
    contextvars.ContextVar: _context_var,
    ModuleType: _module,
    weakref.WeakKeyDictionary: _weak,
    weakref.WeakValueDictionary: _weak,
    threading.local: lambda taking, obj: (threading.local, ()) if taking.held else None,
    type(dataclasses.MISSING): _missing,
    type(dataclasses.KW_ONLY): _missing,
    **dict.fromkeys(_LOCKS, _lock),
}
if _ALIAS is not None:
    REDUCERS[_ALIAS] = _alias
