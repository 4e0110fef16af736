"""`share`: one object that all workers read, in memory that they map, instead of a copy in each.

Where it was made a handle has the object itself. It is pickled once, when the handle is pickled first, into a file
without a name. The handle's own pickle says where that file is. Who reads that maps the file at once, so that it stays,
and makes the object of it when it is asked for.

Process: any. Each knows its handles by their tokens, weakly, so that there is one of each. Where others cannot open
what a process has open, a handle's pickle has the object's in it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import Any, Generic, TypeVar, cast, overload
from weakref import WeakValueDictionary, finalize

from pipeframe_async import shared_file, unnamed
from pipeframe_async.errors import ConfigError, StateError
from pipeframe_async.shared_file import Names
from pipeframe_async.unnamed import TOKEN_BYTES, Address

T = TypeVar("T")


@overload
def share(value: Shared[T]) -> Shared[T]: ...
@overload
def share(value: T) -> Shared[T]: ...
def share(value: Any) -> Shared[Any]:
    """A handle on an object that all workers read: `handle.value` is the object, and costs no copy a worker.

    Give the handle to steps as an attribute of the pipeline, a global of the script or in a record, and keep it as long
    as those have it.

    Args:
        value: what can be pickled. Arrays of NumPy, tables of Arrow and whatever else gives its buffers to pickle are
            read in place; a `dict`, a `str` or `bytes` is made in each worker all the same. A handle is returned as
            it is.

    Returns:
        The handle.

    Raises:
        ConfigError: when the handle is pickled first: the object cannot be pickled, or there is no memory for it.

    Process: made in any. Nothing is copied before it is sent to another process: with threads, never.
    """
    return value if isinstance(value, Shared) else _handle(_Made(os.urandom(TOKEN_BYTES), value))


class Shared(Generic[T]):
    """What `share` returns. It pickles as a few words, however large the object is, and compares by identity.

    The memory is given back when the handle is gone where it was made, and no process has one that it was sent, or a
    part of its object, any more. It has no name, so nothing is left of it however the program ends.

    Raises:
        StateError: when its pickle is read: the process that made it has ended, or has let go of it.
        ConfigError: when its pickle is read: that process is on another host, in another container, or another user's.
    """

    __slots__ = ("__weakref__", "_origin", "_value")

    _origin: _Made | _Mapped
    _value: T

    @property
    def value(self) -> T:
        """The object itself in the process that has shared it; elsewhere one for the whole process.

        There arrays are views of shared memory, and to write to one raises `ValueError`. What is changed after the
        handle was sent, others do not see.

        Raises:
            Exception: elsewhere, at the first use: whatever reading its pickle raises.

        Process: any, in any thread.
        """
        try:
            return self._value
        except AttributeError:  # nobody has asked for it yet
            self._value = value = cast(T, self._origin.load())
            return value

    def __reduce__(self) -> tuple[Any, ...]:
        return self._origin.reduced()

    def __copy__(self) -> Shared[T]:
        return self

    def __deepcopy__(self, memo: object) -> Shared[T]:
        return self

    def __repr__(self) -> str:
        return f"<Shared {self._origin}>"


class _Made:
    """An object of this process; and the file for others, once it was wanted."""

    def __init__(self, token: bytes, value: object) -> None:
        self.key = token, ()
        self.lock = RLock()
        self._token = token
        self._value = value
        self._file: tuple[int, Names] | None = None

    def load(self) -> Any:
        return self._value

    def is_let_go(self) -> bool:
        return False

    def reduced(self) -> tuple[Any, ...]:
        with self.lock:
            try:
                if not unnamed.can_be_found():
                    return _copied, (self._token, *shared_file.parts(self._value))
                fd, names = self._written()
            except Exception as error:
                kind = type(self._value)
                raise ConfigError(
                    f"share() of an object of type {kind.__module__}.{kind.__qualname__}, which cannot be sent to "
                    f"other processes: {type(error).__name__}: {error}"
                ) from error
            return _found, (self._token, tuple(unnamed.address_of(fd)), names)

    def _written(self) -> tuple[int, Names]:
        """The file that is there, or one made now: a program may have closed all descriptors it had."""
        if self._file is None or not unnamed.is_here(self._file[0], self._token):
            fd, names = self._file = shared_file.write(self._token, self._value)
            finalize(self, _close, fd, self._token).atexit = False
            return fd, names
        return self._file

    def __str__(self) -> str:
        return f"{type(self._value).__qualname__}, of this process"


class _Mapped:
    """An object of another process, in memory of that."""

    def __init__(self, token: bytes, address: Address, names: Names) -> None:
        import mmap

        self.key = _key(token, names)
        self.lock = RLock()
        self._told = token, tuple(address), names
        self._from = address
        self._loaded: tuple[Any, ...] = ()
        fd = unnamed.opened(address, token)
        try:
            self._memory = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(fd)

    def load(self) -> Any:
        with self.lock:
            if not self._loaded:
                self._loaded = (shared_file.read(self._memory),)
            return self._loaded[0]

    def is_let_go(self) -> bool:
        try:
            os.close(unnamed.opened(self._from, self.key[0]))
        except StateError:
            return True
        except ConfigError:  # this process is another user's by now, and cannot tell
            return False
        return False

    def reduced(self) -> tuple[Any, ...]:
        return _found, self._told

    def __str__(self) -> str:
        return f"of process {self._from.pid}"


Key = tuple[bytes, tuple[int, ...]]
"""What this process knows a handle by: its token; and what it names there, where it was sent. Each chain has classes of
`__main__` of its own, so that an object that names those is made for each of them."""

_here: WeakValueDictionary[Key, Shared[Any]] = WeakValueDictionary()
_finding = RLock()  # one that is read may have others in it


_noted: ContextVar[list[Shared[Any]] | None] = ContextVar("pipeframe_handles", default=None)


@contextmanager
def noted() -> Iterator[list[Shared[Any]]]:
    """The handles that are read inside of this, also those that were here before."""
    found: list[Shared[Any]] = []
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def is_let_go(handle: Shared[Any]) -> bool:
    """Whether nobody can send this handle any more: it is gone where it was made, and held here for nothing."""
    return handle._origin.is_let_go()


def _key(token: bytes, names: Names) -> Key:
    return token, tuple(map(id, names))


def _handle(origin: _Made | _Mapped) -> Shared[Any]:
    handle: Shared[Any] = Shared.__new__(Shared)
    handle._origin = origin
    _here[origin.key] = handle
    return handle


def _found(token: bytes, address: tuple[str, str, int, int], names: Names) -> Shared[Any]:
    """A handle that was pickled: the one that is here, or a new one."""
    with _finding:
        handle = _here.get((token, ())) or _here.get(_key(token, names))
        handle = handle or _handle(_Mapped(token, Address(*address), names))
    if (found := _noted.get()) is not None:
        found.append(handle)
    return handle


def _copied(token: bytes, names: Names, data: bytes, buffers: list[bytes]) -> Shared[Any]:
    """A handle that was pickled with its object: this process has one of its own from here on."""
    if (handle := _here.get((token, ()))) is not None:
        return handle
    value = pickle.loads(data, buffers=buffers)  # noqa: S301 - of a process that may as well send steps
    with _finding:  # not while it is read, which may be anybody's code
        return _here.get((token, ())) or _handle(_Made(token, value))


def _close(fd: int, token: bytes) -> None:
    if unnamed.is_here(fd, token):
        os.close(fd)


def _begin_anew() -> None:
    """In a fork: whoever held a lock is not here."""
    global _finding
    _finding = RLock()
    for handle in [*_here.values()]:
        handle._origin.lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
