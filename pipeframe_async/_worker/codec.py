"""Values to bytes and back, the same on both sides of the process border.

Plain pickle, but classes of the user's `__main__` travel by value, because a worker does not import that
module. Nothing else is made picklable that pickle refuses: a lambda among the records stays an error.
These bytes only ever pass between this process and the workers it started.
"""

from __future__ import annotations

import io
import pickle
import sys
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

PROTOCOL = 5

_MAINS = ("__main__", "__mp_main__")
"""The main module, and what multiprocessing calls it in a child of its own."""
_MAIN = b"_main__"
"""What the names of both have in common."""
_class_bytes: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()


def dumps(value: object) -> bytes:
    """Pickle a value; raises whatever pickling raises, BaseException included."""
    try:
        data = pickle.dumps(value, PROTOCOL)
        if _MAIN not in data:
            return data
    except (pickle.PicklingError, AttributeError):
        pass  # an instance of a class that is not importable here, or something nobody can pickle
    buffer = io.BytesIO()
    _ByValuePickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def loads(data: bytes) -> Any:
    """Unpickle what `dumps` made."""
    return pickle.loads(data)  # noqa: S301 - bytes of our own workers, see the module's docstring


class _ByValuePickler(pickle.Pickler):
    """Pickles classes of `__main__` by value, each once per process; all else as pickle does."""

    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, type) and obj.__module__ in _MAINS and not isinstance(obj, ModuleType):
            return loads, (_by_value(obj),)
        return NotImplemented


def main_by_value() -> None:
    """Have cloudpickle treat the main module of a multiprocessing child as it treats `__main__`."""
    import cloudpickle

    if (module := sys.modules.get("__mp_main__")) is not None:
        cloudpickle.register_pickle_by_value(module)


def _by_value(cls: type) -> bytes:
    data = _class_bytes.get(cls)
    if data is None:
        import cloudpickle  # only scripts and notebooks that define record classes pay for this import

        main_by_value()
        data = _class_bytes[cls] = cloudpickle.dumps(cls, PROTOCOL)
    return data
