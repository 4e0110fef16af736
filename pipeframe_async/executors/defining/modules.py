"""Modules of the program: which of them a worker can import, and what they say of themselves.

Those it cannot import are `__main__`, those that were loaded by path, and those that hide one of the same name.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import types
from importlib.machinery import BuiltinImporter
from types import ModuleType
from typing import Any

from pipeframe_async._worker import standin
from pipeframe_async._worker.standin import MAIN, MAINS

_GUARD = re.compile(r"^if\s+(__name__\s*==\s*['\"]__main__['\"]|['\"]__main__['\"]\s*==\s*__name__)", re.MULTILINE)
_ABOUT = ("__package__", "__file__", "__path__", "__doc__")
_verdicts: dict[str, tuple[ModuleType, bool]] = {}


def by_value(name: object) -> bool:
    """Whether a module of this name cannot be imported by a worker, though it is here."""
    if name in MAINS:
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
    parent, _, _ = name.rpartition(".")
    if parent:
        above = sys.modules.get(parent)
        if above is None or by_value(parent):
            return above is not None and not by_value(parent)
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
