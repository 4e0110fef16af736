"""Roughly how many bytes a value is when it is pickled, without pickling it.

Comes in: any value. Goes out: a guess, from some of what is in it: good enough to tell megabytes from kilobytes. It
takes microseconds, however large the value is, and calls none of its own code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import GetSetDescriptorType, MappingProxyType, MemberDescriptorType, WrapperDescriptorType
from typing import Any

from pipeframe_async.shared import Shared

MOST_LOOKS = 8
"""Items of one container that are looked at. More cost time, fewer miss those that are unlike the others."""
DEEPEST = 4
"""Containers inside of containers that are looked into. Records have two or three; a tree is only guessed."""
LARGE_BYTES = 2**20
"""From here on a value is packed and read beside the loop, which it would hold up for 10 ms and more where it has many
pieces. A trip to the thread is 0.1 ms, which smaller ones would feel."""
LEAST = 5
"""Bytes of anything else: a number, a reference, a name that was pickled before."""


_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_namespace: Callable[[type], MappingProxyType[str, Any]] = type.__dict__["__dict__"].__get__
"""Of a class, past what its metaclass makes of the names."""


def weight(value: Any, depth: int = 0) -> int:
    """A guess of the bytes a value has when it is pickled."""
    kind = type(value)
    if kind is str or kind is bytes or kind is bytearray:
        return len(value) + LEAST
    if depth > DEEPEST or kind is int or kind is float or kind is bool or kind is Shared or value is None:
        return LEAST
    if kind is list or kind is tuple:
        return _of_some(value[:: max(1, len(value) // MOST_LOOKS)], len(value), depth)
    if kind is dict:
        return LEAST * len(value) + _of_some(value.values(), len(value), depth, MOST_LOOKS)
    if kind is set or kind is frozenset or kind is deque:
        return _of_some(value, len(value), depth, MOST_LOOKS)
    return _of_object(value, kind, depth)


def _of_some(some: Iterable[Any], count: int, depth: int, most: int = 2 * MOST_LOOKS) -> int:
    try:
        looked_at = [*islice(some, most)]
    except RuntimeError:  # a thread of the user's has just changed it
        return LEAST * (1 + count)
    if not looked_at:
        return LEAST
    nbytes = sum([LEAST if type(one) is int else weight(one, depth + 1) for one in looked_at])
    return LEAST + nbytes * count // len(looked_at)


def _of_object(value: Any, kind: type, depth: int) -> int:
    classes = _mro(kind)
    if (nbytes := _buffered(value, classes)) is not None or (nbytes := _said(value, classes)) is not None:
        return LEAST + nbytes
    own = LEAST + sum(weight(one, depth + 1) for one in islice(_fields(value, classes), 4 * MOST_LOOKS))
    return own + _held(value, kind, depth) if issubclass(kind, _CONTAINERS) else own


_CONTAINERS = (list, tuple, dict, set, frozenset, deque, str)


def _held(value: Any, kind: type, depth: int) -> int:
    """What an instance of a class derived of a container holds, as a named tuple: by the container's own code."""
    if issubclass(kind, str):
        return str.__len__(value)
    of: Any = next(of for of in _CONTAINERS if issubclass(kind, of))
    count = of.__len__(value)
    if of is list or of is tuple:
        return _of_some(of.__getitem__(value, slice(None, None, max(1, count // MOST_LOOKS))), count, depth)
    return _of_some(dict.values(value) if of is dict else of.__iter__(value), count, depth, MOST_LOOKS)


def _buffered(value: Any, classes: tuple[type, ...]) -> int | None:
    """What an array of any kind has. A class of the user's may have any code to make its buffer."""
    for cls in classes:
        if type(_namespace(cls).get("__buffer__", _none_there)) is not WrapperDescriptorType:
            return None
    try:
        return memoryview(value).nbytes
    except Exception:  # it has none, or not as it is now
        return None


_none_there = object.__repr__
"""In place of what a class does not have: as if it were that of an extension type."""


def _said(value: Any, classes: tuple[type, ...]) -> int | None:
    """What a value of an extension type says it has, as a table of Arrow does. Others' `nbytes` may be any code."""
    for cls in classes:
        if (said := _namespace(cls).get("nbytes")) is not None:
            try:
                nbytes = said.__get__(value) if type(said) is GetSetDescriptorType else None
            except Exception:  # of a layout it cannot tell
                return None
            return nbytes if type(nbytes) is int else None
    return None


def _fields(value: Any, classes: tuple[type, ...]) -> Iterator[Any]:
    """What an object has in its `__dict__`, and in slots."""
    for cls in classes:
        names = _namespace(cls)
        if (
            type(found := names.get("__dict__")) is GetSetDescriptorType
            and type(fields := found.__get__(value)) is dict
        ):
            yield from [*fields.values()]
        for member in [*names.values()] if "__slots__" in names else ():
            if type(member) is MemberDescriptorType:
                try:
                    yield member.__get__(value)
                except AttributeError:  # nothing was put there
                    continue
