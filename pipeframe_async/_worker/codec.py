"""Values to bytes and back, the same on both sides of the process border.

Plain pickle. Classes and functions of the user's `__main__` are named as those of any module: a worker has stand-ins
for what it cannot import (`standin.py`). A class of `__main__` that the module does not have under its name, one made
inside a function, gets a name of ours. Nothing else is made picklable that pickle refuses: a lambda among the records
stays an error. These bytes only ever pass between this process and the workers it started.
"""

from __future__ import annotations

import gc
import io
import pickle
import time
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from pipeframe_async._worker import standin
from pipeframe_async._worker.pages import Pages
from pipeframe_async.weight import weight
from pipeframe_async.wire import Live, OutOfBand

PROTOCOL = 5
OUT_OF_BAND_BYTES = 16 * 1024
"""Smallest buffer that stands beside its pickle. A smaller one is copied into it in less time than that takes."""

PIECE_BYTES = 2**20
"""Bytes that are copied at once beside the loop, 0.1 ms. More would show as lag, fewer cost more."""

SMALL_BYTES = 1024
"""A pickle's own marks are smaller: they are read by the thousand, and frames of 64 KiB in between."""

_class_bytes: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()


def dumps(value: object, beside: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Pickle a value; raises whatever pickling raises, BaseException included.

    Args:
        value: what is pickled.
        beside: gets the large buffers; None has them in the pickle.
    """
    large = None if beside is None else partial(_is_kept_in, beside)
    try:
        return pickle.dumps(value, PROTOCOL, buffer_callback=large)
    except (pickle.PicklingError, AttributeError):
        pass  # an instance of a class that its module has not under its name, or something nobody can pickle
    if beside is not None:
        beside.clear()
    buffer = io.BytesIO()
    _NamingPickler(buffer, PROTOCOL, buffer_callback=large).dump(value)
    return buffer.getvalue()


class _Sink:
    """What a pickle is written to in a thread beside the loop: piece by piece, so that the loop has its turns."""

    def __init__(self) -> None:
        self._pages = Pages(PIECE_BYTES)

    def write(self, piece: Any) -> int:
        """Append it. A pickler that writes to code of Python may let go of the GIL here; `dumps` never does."""
        with memoryview(piece) as view:
            for at in range(0, len(view), PIECE_BYTES):
                self._pages.append(view[at : at + PIECE_BYTES])
                time.sleep(0)  # or the loop would have it only after the interpreter's 5 ms
        return len(piece)

    def data(self) -> memoryview:
        """All of it."""
        return self._pages.view()


class _Source:
    """What a pickle is read from in a thread beside the loop."""

    def __init__(self, data: Any) -> None:
        self._view = memoryview(data)
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if size > SMALL_BYTES:
            time.sleep(0)  # as above
        begin, self._at = self._at, min(self._at + size, len(self._view))
        return bytes(self._view[begin : self._at])

    def readinto(self, buffer: Any) -> int:
        """The next bytes, of a large value."""
        size = min(len(buffer), len(self._view) - self._at)
        for done in range(0, size, PIECE_BYTES):
            end = min(done + PIECE_BYTES, size)
            buffer[done:end] = self._view[self._at + done : self._at + end]
            time.sleep(0)
        self._at += size
        return size

    def readline(self) -> bytes:
        """Up to the next line's end."""
        rest = bytes(self._view[self._at : self._at + 2**16])
        return self.read(rest.find(b"\n") + 1 or len(rest))


def attempted(value: object) -> bytes | None:
    """Its pickle, or None where it has none, or none any more."""
    try:
        return dumps(value)
    except BaseException:
        return None


def dumps_aside(value: object, beside: list[pickle.PickleBuffer] | None = None) -> memoryview:
    """As `dumps`, in a thread beside the loop, which it does not hold up: for what is large."""
    large = None if beside is None else partial(_is_kept_in, beside)
    for kind in (pickle.Pickler, _NamingPickler):
        sink = _Sink()
        try:
            kind(sink, PROTOCOL, buffer_callback=large).dump(value)
        except (pickle.PicklingError, AttributeError):
            if kind is _NamingPickler:
                raise
            if beside is not None:
                beside.clear()
        else:
            return sink.data()
    raise AssertionError


def loads_aside(data: Any) -> Any:
    """As `loads`, in a thread beside the loop."""
    if isinstance(data, Live):
        return data.values
    source, beside = (_Source(data.data), data.buffers) if isinstance(data, OutOfBand) else (_Source(data), None)
    with _uncollected:
        return pickle.Unpickler(source, buffers=beside).load()  # noqa: S301 - as in `loads`


class _Uncollected:
    """A block in which objects are made by the hundred thousand, none of them garbage: no collection meanwhile.

    The collector would go through all objects of the program for those, 100 ms, and be at it again when the block ends:
    they go to where it looks last.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._was_on = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside or not self._was_on:
                return
            if not gc.get_freeze_count():  # else they are the program's, and stay frozen
                gc.freeze()
                gc.unfreeze()
            gc.enable()


_uncollected = _Uncollected()


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


def handed_over(values: list[Any]) -> Live:
    """Values as they are, for who is in this process."""
    return Live(values, weight(values))


def loads(data: bytes | bytearray | memoryview | OutOfBand | Live) -> Any:
    """The value that `dumps` or `dumps_out_of_band` made this of, or that was left as it is.

    Buffers that are beside the pickle become part of the value, uncopied.
    """
    if isinstance(data, Live):
        return data.values
    if isinstance(data, OutOfBand):
        return pickle.loads(data.data, buffers=data.buffers)  # noqa: S301 - as below
    return pickle.loads(data)  # noqa: S301 - bytes of our own workers, see the module's docstring


class _NamingPickler(pickle.Pickler):
    """Names classes of `__main__` that the module does not have, or has no more; all else as pickle does."""

    def reducer_override(self, obj: object) -> Any:
        if not isinstance(obj, type) or not _is_of_main(obj):
            return NotImplemented
        standins = standin.active()
        if standins is None:
            name = standin.class_name(obj)
            return (standin.find, (obj.__module__, name)) if name.startswith(standin.UNNAMED) else NotImplemented
        if (known := standins.name_of(obj)) is not None:
            return standin.find, known
        return NotImplemented if standin.home_name(obj) else (loads, (_by_value(obj),))


def _is_of_main(cls: type) -> bool:
    standins = standin.active()
    return cls.__module__ in standin.MAINS or (standins is not None and cls.__module__ in standins.modules)


def _by_value(cls: type) -> bytes:
    """A class that was made by a step, and that only this worker has."""
    data = _class_bytes.get(cls)
    if data is None:
        import cloudpickle  # only what makes classes of its own in a step pays for this import

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
            def reducer_override(self, obj: Any) -> Any:
                standins = standin.active()
                if standins is not None and isinstance(obj, type) and (known := standins.name_of(obj)) is not None:
                    return standin.find, known
                return super().reducer_override(obj)

        stream = io.BytesIO()
        Pickler(stream, PROTOCOL).dump(cls)
        data = _class_bytes[cls] = stream.getvalue()
    return data
