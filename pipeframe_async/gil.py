"""Whether threads of this process take turns at Python code, as they do but in a free-threaded CPython.

Asked when it matters, and not kept: a module that is imported later may turn the GIL on for good.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def gil_enabled() -> bool:
    """Whether there is a GIL, now."""
    asked: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return asked is None or asked()
