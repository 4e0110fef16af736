"""Values to bytes and back, the same on both sides of the process border.

Plain pickle, but classes of the user's `__main__` travel by value, because a worker does not import that
module. Nothing else is made picklable that pickle refuses: a lambda among the records stays an error.
These bytes only ever pass between this process and the workers it started.
"""

from __future__ import annotations

import io
import pickle
import sys
from functools import partial
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pipeframe_async.wire import Live, OutOfBand

PROTOCOL = 5
OUT_OF_BAND_BYTES = 16 * 1024
"""Smallest buffer that stands beside its pickle. A smaller one is copied into it in less time than that takes."""

_MAINS = ("__main__", "__mp_main__")
"""The main module, and what multiprocessing calls it in a child of its own."""
_MAIN = b"_main__"
"""What the names of both have in common."""
_class_bytes: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()


def dumps(value: object, beside: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Pickle a value; raises whatever pickling raises, BaseException included.

    Args:
        value: what is pickled.
        beside: gets the large buffers; None has them in the pickle.
    """
    large = None if beside is None else partial(_is_kept_in, beside)
    try:
        data = pickle.dumps(value, PROTOCOL, buffer_callback=large)
        if _MAIN not in data:
            return data
    except (pickle.PicklingError, AttributeError):
        pass  # an instance of a class that is not importable here, or something nobody can pickle
    if beside is not None:
        beside.clear()
    buffer = io.BytesIO()
    _ByValuePickler(buffer, PROTOCOL, buffer_callback=large).dump(value)
    return buffer.getvalue()


def _is_kept_in(beside: list[pickle.PickleBuffer], buffer: pickle.PickleBuffer) -> bool:
    view = memoryview(buffer)
    if view.nbytes < OUT_OF_BAND_BYTES or not view.contiguous:
        return True
    beside.append(buffer)
    return False


def dumps_out_of_band(value: object) -> bytes | OutOfBand:
    """Pickle a value with its large buffers (arrays and the like) beside it: views, so the value must be kept."""
    beside: list[pickle.PickleBuffer] = []
    data = dumps(value, beside)
    return OutOfBand(data, tuple(beside)) if beside else data


def loads(data: bytes | OutOfBand | Live) -> Any:
    """The value that `dumps` or `dumps_out_of_band` made this of, or that was left as it is.

    Buffers that are beside the pickle become part of the value, uncopied.
    """
    if isinstance(data, Live):
        return data.values
    if isinstance(data, OutOfBand):
        return pickle.loads(data.data, buffers=data.buffers)  # noqa: S301 - as below
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
