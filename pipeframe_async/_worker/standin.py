"""Stand-ins for the modules of the program that a worker cannot import, above all its `__main__`.

A chain brings definitions by value (`making.py` puts them here); records and results then name them, as pickles of a
module's classes do. What a record names that is not here is told by `wanted`, and the parent sends it (`Parcel`).
Each chain has stand-ins of its own, which are in `sys.modules` while it is loaded and while a batch of it runs.
It knows nothing of pickling definitions, and in the program's own process nothing of this is used.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

MAIN = "__main__"
MAINS = (MAIN, "__mp_main__")
"""The main module, and what multiprocessing calls it in a child of its own."""
UNNAMED = "<"
"""What the name of a class begins with that its module does not have by that name."""

Name = tuple[str, str]
"""A module, and the qualified name of something in it."""


class Parcel(NamedTuple):
    """What a worker is sent to load a chain: its pickle, where it lacks that, and what its records name.

    `more` has definitions by the name that was asked for; `tag` says which state of the program they are of;
    `refused`: why a name cannot be sent.
    """

    chain: bytes | None
    tag: str = ""
    more: tuple[tuple[Name, bytes], ...] = ()
    refused: Mapping[Name, str] = {}


class StandIn(ModuleType):
    """A module made of what was sent; it notes what it is asked for in vain.

    Args:
        name: of the module it stands for.
        missed: gets the names.
        refused: why some cannot be sent.
    """

    def __init__(self, name: str, missed: set[Name], refused: Mapping[Name, str]) -> None:
        super().__init__(name)

        def look(asked: str) -> Any:
            if (text := refused.get((name, asked))) is not None:
                raise pickle.PicklingError(text)
            if not asked.startswith("__"):
                missed.add((name, asked))
            raise AttributeError(f"module {name!r} has no attribute {asked!r} in this worker")

        # `look` is the module's own: a class that has one asks for every attribute in Python.
        self.__dict__.update(__builtins__=__builtins__, __getattr__=look, __spec__=NoSpec)


class NoSpec:
    """Stands for None as the `__spec__` of a stand-in.

    Each record that is read by itself imports `__main__`, which looks there whether it is ready: at None it raises and
    clears an AttributeError, 0.5 µs of the 3 that a small record costs in a worker.
    """

    _initializing = False
    _uninitialized_submodules: ClassVar[list[str]] = []  # an import of a submodule adds it there, and takes it away
    name = None
    parent = None
    submodule_search_locations = None
    loader = None
    origin = None
    has_location = False


class MainStandIn(StandIn):
    """That of `__main__`. A child of a step is told to run the script's file only where that has a guard."""

    __slots__ = ("_guarded",)

    def __init__(self, missed: set[Name], refused: Mapping[Name, str]) -> None:
        super().__init__(MAIN, missed, refused)
        self._guarded = False

    @property
    def __file__(self) -> str:  # type: ignore[override]
        if self._guarded and "__file__" in self.__dict__:
            return str(self.__dict__["__file__"])
        raise AttributeError("__file__")


class StandIns:
    """The stand-ins of one chain, and what was put there by name."""

    def __init__(self) -> None:
        self.tag = ""
        self.applied: list[tuple[Name, bytes]] = []
        self.made: dict[Name, Any] = {}
        self.fresh: set[Name] = set()  # made by the pickle that is being read
        self._names: WeakKeyDictionary[Any, Name] = WeakKeyDictionary()
        self.missed: set[Name] = set()
        self.refused: dict[Name, str] = {}
        self.modules: dict[str, StandIn] = {MAIN: MainStandIn(self.missed, self.refused)}

    def module(self, name: str) -> StandIn:
        """The stand-in of that name."""
        key = MAIN if name in MAINS else name
        if (module := self.modules.get(key)) is None:
            module = self.modules[key] = StandIn(key, self.missed, self.refused)
            if _active is self:
                _hidden.setdefault(key, sys.modules.get(key))
                sys.modules[key] = module
        return module

    def describe(self, about: Mapping[str, Mapping[str, Any]], guarded: bool) -> None:
        """Set what modules say of themselves: their file, their package."""
        for name, values in about.items():
            self.module(name).__dict__.update(values)
        main = self.modules[MAIN]
        assert isinstance(main, MainStandIn)
        main._guarded = guarded

    def put(self, name: Name, value: Any) -> None:
        """Something has been made that has a name."""
        self.made[name] = value
        self.fresh.add(name)
        with suppress(TypeError):  # it cannot be referred to weakly: then it is found by its name only
            self._names[value] = name
        if "." not in name[1] and not name[1].startswith(UNNAMED):
            self.module(name[0]).__dict__[name[1]] = value

    def name_of(self, value: Any) -> Name | None:
        """What the program calls something that was made here."""
        try:
            return self._names.get(value)
        except TypeError:
            return None

    def find(self, module: str, name: str) -> Any:
        """What has this name; noted where nothing has."""
        if (found := self.made.get((module, name))) is not None:
            return found
        if (text := self.refused.get((module, name))) is not None:
            raise pickle.PicklingError(text)
        if name.startswith(UNNAMED):
            self.missed.add((module, name))
            raise AttributeError(f"{module} has no {name} in this worker")
        return resolved(self.module(module), name)

    def wanted(self, error: BaseException | None = None) -> str:
        """The names that were missed since `missed` was emptied, as text; empty where there are none."""
        if isinstance(error, ModuleNotFoundError) and error.name and (error.name, "") not in self.refused:
            self.missed.add((error.name, ""))
        return "\n".join(sorted("\t".join(name) for name in self.missed))


def resolved(module: Any, qualname: str) -> Any:
    """What a qualified name stands for in a module; raises AttributeError."""
    for part in qualname.split("."):
        module = getattr(module, part)
    return module


# --- in the program's own process ----------------------------------------------------------------------------------

home = os.urandom(8).hex()
"""Names this process: what is read where it was written is looked up, and never made or set."""
_unnamed: WeakValueDictionary[str, type] = WeakValueDictionary()
_tokens: WeakKeyDictionary[type, str] = WeakKeyDictionary()


def _moved() -> None:
    global home
    home = os.urandom(8).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_moved)


def home_name(value: Any, module_name: str | None = None) -> str:
    """The qualified name by which its module has it; empty where the module does not have it."""
    module = sys.modules.get(module_name or getattr(value, "__module__", None) or "")
    qualname = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if module is None or not isinstance(qualname, str) or "<" in qualname:
        return ""
    try:
        return qualname if resolved(module, qualname) is value else ""
    except AttributeError:
        return ""


def class_name(cls: type) -> str:
    """Its qualified name, or one that this process gives it, since its module does not have it."""
    if name := home_name(cls):
        return name
    if (token := _tokens.get(cls)) is None:
        token = _tokens[cls] = f"{UNNAMED}{home}-{len(_unnamed)}-{id(cls)}"
        _unnamed[token] = cls
    return token


def find(module: str, name: str) -> Any:
    """What has this name, where this is called. Pickles name it."""
    if (found := _unnamed.get(name)) is not None:
        return found
    standins = loading() or _active
    return resolved(sys.modules[module], name) if standins is None else standins.find(module, name)


# --- in a worker ---------------------------------------------------------------------------------------------------

_active: StandIns | None = None
_users = 0
_hidden: dict[str, ModuleType | None] = {}
_turn = threading.Condition()
_thread = threading.local()


def active() -> StandIns | None:
    """Those that are in `sys.modules` now."""
    return _active


def loading() -> StandIns | None:
    """Those that this thread is putting something into; None also where it is at home."""
    return getattr(_thread, "loading", None)


@contextmanager
def loads_into(standins: StandIns) -> Iterator[None]:
    """What this thread unpickles is made in these."""
    before, _thread.loading = loading(), standins
    standins.fresh.clear()
    try:
        yield
    finally:
        _thread.loading = before


@contextmanager
def at_work(standins: StandIns | None, *, keep: bool) -> Iterator[None]:
    """Have them in `sys.modules`. Threads of one process take turns, unless it is the same chain they are at.

    Args:
        standins: None where the program's own modules are here.
        keep: whether they may stay when this is over, for a process that is a lane's.
    """
    global _users
    if standins is None:
        yield
        return
    with _turn:
        while _users and _active is not standins:
            _turn.wait()
        _swap(standins)
        _users += 1
    try:
        yield
    finally:
        with _turn:
            _users -= 1
            if not _users and not keep:
                _swap(None)
            _turn.notify_all()


def _swap(standins: StandIns | None) -> None:
    global _active
    if standins is _active:
        return
    for name, module in _hidden.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
    _hidden.clear()
    _active = standins
    if standins is None:
        return
    for name, stand_in in [*standins.modules.items(), (MAINS[1], standins.modules[MAIN])]:
        _hidden[name] = sys.modules.get(name)
        sys.modules[name] = stand_in
