"""Whether threads of this process take turns at Python code, as they do but in a free-threaded CPython; and what has to
be done differently where they do not.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def gil_enabled() -> bool:
    """Whether there is a GIL, now: a module that is imported later may turn it on for good."""
    asked: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return asked is None or asked()


def copied(values: deque[T]) -> deque[T]:
    """A copy, for a thread that looks at what another one adds to and takes from.

    A deque is copied step by step. Without a GIL it may have changed from one to the next, which `copy` finds out: then
    it is copied again. Lists and dicts are copied as a whole.
    """
    while True:
        try:
            return values.copy()
        except RuntimeError:
            continue
