"""Whether a feed yields the object again that it has yielded just before, and that still waits: it has changed since.

Comes in: records that wait, in feed order. Goes out: the first mutable one that is there twice in a row. A record that
cannot change may come as often as it likes, and so may one with others in between: feeds go round in rows they keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from operator import is_
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from pipeframe_async.shared import Shared

FIXED = frozenset({int, float, complex, bool, str, bytes, tuple, frozenset, range, type(None), Shared})
"""Types whose values never change: where the first record is of one, the others are not looked at."""
_FIXED_KINDS = (*FIXED, Enum, type, FunctionType, BuiltinFunctionType, ModuleType, BaseException)
_FIXED_MODULES = frozenset({"datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"})


def used_again(records: Sequence[Any]) -> Any:
    """The first mutable record that is there twice in a row; None where none is."""
    if not records or type(records[0]) in FIXED or not any(map(is_, records, records[1:])):
        return None
    return next((one for one, other in pairwise(records) if one is other and may_change(one)), None)


def may_change(value: Any) -> bool:
    """Whether a value can be another one later, as far as its type tells."""
    cls = type(value)
    if isinstance(value, _FIXED_KINDS) or cls.__module__.partition(".")[0] in _FIXED_MODULES:
        return False
    if hasattr(cls, "__setitem__") or hasattr(cls, "add"):
        return True
    return "__setattr__" not in _overridden(cls) and _has_fields(cls)


def _overridden(cls: type) -> set[str]:
    """What its classes, but for `object`, define."""
    return {name for base in cls.__mro__[:-1] for name in base.__dict__}


def _has_fields(cls: type) -> bool:
    """Whether its instances have attributes of their own that can be set."""
    return cls.__dictoffset__ != 0 or any(base.__dict__.get("__slots__") for base in cls.__mro__)
