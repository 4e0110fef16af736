"""In a Dask worker: which modules it does not have. Only what cannot be found otherwise is imported for that."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.util import find_spec


def missing(modules: Iterable[str]) -> list[str]:
    """Those of these that are not here, or what they import and is not here, by name."""
    importlib.invalidate_caches()  # it may have been installed, or uploaded, since
    return sorted({lack for name in modules if (lack := _lack(name))})


def _lack(name: str) -> str:
    """What is missing for a module; empty where nothing is."""
    if name in sys.modules or _found(name):
        return ""
    try:
        importlib.import_module(name)  # there are modules that only their package's import makes
    except ModuleNotFoundError as error:
        return error.name or name
    except BaseException:  # it is here; what it does is the affair of who imports it
        return ""
    return ""


def _found(name: str) -> bool:
    """Whether finders know it, without an import of the packages it is in."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
        for part in rest:
            if spec is None:
                return False
            top = f"{top}.{part}"
            spec = PathFinder.find_spec(top, spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None
