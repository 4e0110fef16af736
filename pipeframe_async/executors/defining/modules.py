"""Modules of the program: which of them a worker can import, and what they say of themselves.

Those it cannot import are `__main__`, those that were loaded by path, and those that hide one of the same name.
Others go by value where that is said.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import BuiltinImporter
from types import ModuleType
from typing import Any

from pipeframe_async._worker import standin
from pipeframe_async._worker.standin import MAIN, MAINS
from pipeframe_async.errors import ConfigError

_shipped: ContextVar[frozenset[str]] = ContextVar("pipeframe_shipped", default=frozenset())
_GUARD = re.compile(r"^if\s+(__name__\s*==\s*['\"]__main__['\"]|['\"]__main__['\"]\s*==\s*__name__)", re.MULTILINE)
OWN = ("pipeframe_async", "cloudpickle")
"""What every worker has, or it would be no worker."""
_ABOUT = ("__package__", "__file__", "__path__", "__doc__")
_verdicts: dict[str, tuple[ModuleType, bool]] = {}


@contextmanager
def shipping(names: frozenset[str]) -> Iterator[None]:
    """Have these modules, and those inside of them, go by value: in here, and in no other thread or task."""
    token = _shipped.set(names)
    try:
        yield
    finally:
        _shipped.reset(token)


def shipped(knob: str, value: object) -> frozenset[str]:
    """The names of modules that are to go by value, checked.

    Args:
        knob: what it is called.
        value: modules, or their names.

    Raises:
        ConfigError: one is no module, is not here, or cannot go by value.
    """
    if isinstance(value, (str, ModuleType)) or not isinstance(value, Iterable):
        raise ConfigError(f"{knob}={value!r}: must be a list of modules, or of their names")
    return frozenset(_shippable(knob, each) for each in value)


def _shippable(knob: str, each: object) -> str:
    name = each.__name__ if isinstance(each, ModuleType) else each
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"{knob}: {each!r} is no module, and no name of one")
    top = name.partition(".")[0]
    if top == "pipeframe_async" or (top in sys.stdlib_module_names and name not in MAINS):
        raise ConfigError(f"{knob}: {name!r} cannot go by value: workers have one of their own")
    file = _file_of(knob, name)
    if file is not None and not file.endswith((".py", ".pyc")):
        raise ConfigError(f"{knob}: {name!r} cannot go by value: it is compiled ({file}); install it on the workers")
    return name


def _file_of(knob: str, name: str) -> str | None:
    if (module := sys.modules.get(name)) is not None:
        return getattr(module, "__file__", None)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise ConfigError(f"{knob}: there is no module {name!r} here")
    return spec.origin if spec.has_location else None


def by_value(name: object) -> bool:
    """Whether a module of this name cannot be imported by a worker, though it is here; or is to go along anyway."""
    if name in MAINS:
        return True
    if (names := _shipped.get()) and isinstance(name, str) and not names.isdisjoint(_outwards(name)):
        return True
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or not isinstance(module, ModuleType):
        return False
    assert isinstance(name, str)
    known = _verdicts.get(name)
    if known is None or known[0] is not module:
        known = _verdicts[name] = module, not _can_be_imported(name, module)
    return known[1]


def _can_be_imported(name: str, module: ModuleType) -> bool:
    """Whether a finder knows it; a part of something compiled is the affair of the package it is in."""
    file = getattr(module, "__file__", None)
    parent, _, tail = name.rpartition(".")
    if parent:
        above = sys.modules.get(parent)
        if above is None or by_value(parent):
            return above is not None and not by_value(parent)
        if not hasattr(above, "__path__") and getattr(above, tail, None) is module:
            return True  # no finder knows `os.path`: `os` has it
        if not isinstance(file, str) or not file.endswith(".py"):
            return True
    elif name in sys.builtin_module_names or isinstance(getattr(module, "__loader__", None), BuiltinImporter):
        return True
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, path)
        except Exception:  # somebody else's finder, which only the next import would have to bear
            continue
        if found is not None:
            origin = found.origin
            return not (file and origin and os.path.isfile(origin) and os.path.isfile(file)) or os.path.samefile(
                origin, file
            )
    return False


def _outwards(name: str) -> Iterator[str]:
    """A module's name, and those of the packages it is in."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def needed(name: object) -> bool:
    """Whether a worker must have a module of this name, which comes neither with Python nor with the library."""
    if not isinstance(name, str) or name not in sys.modules or name in MAINS:
        return False
    top = name.partition(".")[0]
    return top not in sys.stdlib_module_names and top not in OWN


def importable(obj: Any) -> bool:
    """Whether a worker finds it in its module, under the name it has."""
    return not by_value(obj.__module__) and bool(standin.home_name(obj))


def about(names: set[str]) -> dict[str, dict[str, Any]]:
    """What modules say of themselves."""
    about = {}
    for name in sorted({MAIN, *names}):
        values = vars(sys.modules.get(name, types))
        about[name] = {key: values[key] for key in _ABOUT if isinstance(values.get(key), (str, list))}
        if name != MAIN:
            continue
        about[name].setdefault("__package__", None)
        if guarded() and (spec := values.get("__spec__")) is not None:
            about[name]["__spec__"] = type(spec)(spec.name, None, origin=spec.origin)
    return about


@functools.lru_cache(16)
def _has_guard(file: str, changed: float) -> bool:
    try:
        with open(file, encoding="utf-8", errors="replace") as source:
            return _GUARD.search(source.read()) is not None
    except OSError:
        return False


def guarded() -> bool:
    """Whether the main module may be run again, by a process that a step starts."""
    file = getattr(sys.modules.get(MAIN), "__file__", None)
    try:
        return isinstance(file, str) and _has_guard(file, os.stat(file).st_mtime)
    except OSError:
        return False
