"""Whether a peer is installed here."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module


@cache
def is_there(module: str) -> bool:
    """Whether a module is installed, with all that it needs itself."""
    with warnings.catch_warnings(action="ignore"):  # of what it imports itself: nothing to be done about here
        try:
            import_module(module)
        except ImportError:
            return False
    return True
