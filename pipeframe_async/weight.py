"""Roughly how many bytes a value is when it is pickled, without pickling it.

Comes in: any value. Goes out: a guess, from some of what is in it: good enough to tell megabytes from kilobytes. It
takes microseconds, however large the value is, and calls none of its own code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from types import GetSetDescriptorType, MemberDescriptorType
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
        return LEAST * len(value) + _of_some(islice(value.values(), MOST_LOOKS), len(value), depth)
    if kind is set or kind is frozenset or kind is deque:
        return _of_some(islice(value, MOST_LOOKS), len(value), depth)
    return _of_object(value, depth)


def _of_some(some: Iterable[Any], count: int, depth: int) -> int:
    weights = [weight(one, depth + 1) for one in islice(some, 2 * MOST_LOOKS)]
    return LEAST + (sum(weights) * count // len(weights) if weights else 0)


def _of_object(value: Any, depth: int) -> int:
    try:
        return LEAST + memoryview(value).nbytes  # arrays of all kinds
    except (TypeError, ValueError, BufferError):
        pass
    if (nbytes := _said(value)) is not None:
        return LEAST + nbytes
    try:
        fields = object.__getattribute__(value, "__dict__")
    except AttributeError:
        fields = {}
    values = [*fields.values()] if type(fields) is dict else []
    for cls in type(value).__mro__:
        for name in _slots(cls):
            member = cls.__dict__.get(name)
            if isinstance(member, MemberDescriptorType):
                try:
                    values.append(member.__get__(value))
                except AttributeError:  # nothing was put there
                    continue
    return LEAST + sum(weight(one, depth + 1) for one in values[: 4 * MOST_LOOKS])


def _said(value: Any) -> int | None:
    """What a value of an extension type says it has, as a table of Arrow does. Others' `nbytes` may be any code."""
    for cls in type(value).__mro__:
        if (said := cls.__dict__.get("nbytes")) is not None:
            try:
                nbytes = said.__get__(value) if isinstance(said, GetSetDescriptorType) else None
            except Exception:  # of a layout it cannot tell
                return None
            return nbytes if type(nbytes) is int else None
    return None


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
