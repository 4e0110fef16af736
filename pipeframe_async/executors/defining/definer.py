"""Definitions to bytes: what workers can import goes by reference, what they cannot is taken apart.

Comes in: any value of the program. Goes out: bytes that `_worker/making.py` reads. Modules that no worker can import
are `__main__` and those that were loaded by path. Each name that travels is noted, for what is sent later refers to
those that are there. cloudpickle does the most of it; here is what it cannot do, or does not do as it is needed.
"""

from __future__ import annotations

import functools
import io
import linecache
import os
import pickle
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from enum import EnumMeta
from inspect import isclass
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as parts

from pipeframe_async._worker import making, standin
from pipeframe_async._worker.codec import PROTOCOL
from pipeframe_async._worker.standin import MAIN, MAINS, Name
from pipeframe_async.executors.defining.modules import about, by_value, guarded, importable, needed
from pipeframe_async.executors.defining.reducers import REDUCERS, Boxed
from pipeframe_async.executors.defining.structs import struct_of, without
from pipeframe_async.pipeline_engine import PipelineEngine

LARGEST_GUESS = 2**20
"""Bytes of what goes along since its name may be looked up. Less leaves functions behind that use a table; more sends
data that nobody has asked for."""

_WORD = re.compile(r"[A-Za-z_]\w*")
_PLAIN = (int, float, complex, str, bytes, bool, type(None), type, FunctionType, ModuleType)
_DISPATCHER = functools.singledispatch(len).__code__  # type: ignore[attr-defined] # a function, in truth


class Defined(typing.NamedTuple):
    """Definitions as bytes, and the names they bring: those that are made, and globals. `needs`: modules they name."""

    data: bytes
    names: set[Name]
    needs: frozenset[str] = frozenset()


def define(
    value: object,
    *,
    hooks: Callable[[FunctionType], Any] | None = None,
    there: frozenset[Name] = frozenset(),
    held: bool = False,
) -> Defined:
    """Take something apart.

    Args:
        value: anything.
        hooks: says what stands for a function, None for most.
        there: names that are there already, and are referred to.
        held: by a module or class of the program.
    """
    stream = io.BytesIO()
    pickler = Definer(stream, hooks, there)
    pickler.held = int(held)
    pickler.dump(value)
    head = making.Head(standin.home, about(pickler.modules), guarded(), pickler.sources)
    return Defined(
        making.MAGIC + pickle.dumps(tuple(head), PROTOCOL) + stream.getvalue(), pickler.names, frozenset(pickler.needs)
    )


class Definer(cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of definitions."""

    def __init__(
        self, stream: io.BytesIO, hooks: Callable[[FunctionType], Any] | None, there: frozenset[Name], deep: bool = True
    ) -> None:
        super().__init__(stream, PROTOCOL)
        self.names: set[Name] = set()
        self.modules: set[str] = set()
        self.needs: set[str] = set()
        self.sources: dict[str, str] = {}
        self._hooks = hooks
        self._there = there
        self._deep = deep  # look after names in annotations
        self.held = 0  # inside of a value that a module or class of the program holds
        self._kept: list[Any] = []  # alive until this is done: a memo goes by address

    def reducer_override(self, obj: Any) -> Any:
        """How something is taken apart; what pickle does by itself is left to it."""
        kind = type(obj)
        if kind is FunctionType:
            return self._function(obj)
        if kind is CodeType:
            return self._code(obj)
        if isclass(obj) and isinstance(obj, type):
            return self._class(obj)
        if (reduce := REDUCERS.get(kind)) is not None and (reduced := reduce(self, obj)) is not None:
            return reduced
        return self._by_reference(obj)

    def _by_reference(self, obj: Any) -> Any:
        """Something that is where it is read, or that cloudpickle takes apart."""
        if isinstance(obj, (type, FunctionType, ModuleType, BuiltinFunctionType)):
            name = obj.__name__ if isinstance(obj, ModuleType) else obj.__module__
            if name not in self.needs and needed(name) and _by_name(obj):
                self.needs.add(name)
        return super().reducer_override(obj)

    # --- functions ---

    def _function(self, obj: Any) -> Any:
        if self._hooks is not None and (instead := self._hooks(obj)) is not None:
            return instead
        if obj.__code__ is _DISPATCHER and not importable(obj):
            return self.named(
                obj, making.dispatcher, (obj.registry[object],), making.fill_dispatcher, [*obj.registry.items()]
            )
        if obj.__module__ is None and by_value(parts._whichmodule(obj, obj.__qualname__)):
            return self._dynamic_function_reduce(obj)  # made by a decorator, with globals of its own
        if not by_value(obj.__module__):
            return self._by_reference(obj)
        module = sys.modules[obj.__module__]
        if obj.__globals__ is not vars(module):
            return self._dynamic_function_reduce(obj)  # of a namespace that no module has
        name = standin.home_name(obj)
        key = self._key(obj.__module__, name)
        if name and key in self._there:
            return standin.find, key
        _, (code, _, _, _, closure), (attributes, slots), *_ = self._dynamic_function_reduce(obj)
        self._note(key)
        used = {}
        for other, value in slots["__globals__"].items():
            if (key[0], other) not in self._there:
                self.names.add((key[0], other))
                used[other] = self._boxed(value)
        slots["__globals__"] = used
        besides = self._besides(obj.__module__, obj.__code__, slots["__annotations__"], slots["__globals__"])
        state = attributes, slots, besides, bool(name)
        return making.function, (*key, code, closure), state, None, None, making.set_function

    def _code(self, obj: CodeType) -> Any:
        """As it is, with its file's name: cloudpickle 3.1.3 leaves that out."""
        make, arguments = parts._code_reduce(obj)
        file = obj.co_filename
        if file not in self.sources and not os.path.isfile(file) and (lines := linecache.getlines(file)):
            self.sources[file] = "".join(lines)
        return make, tuple(file if argument == "<dynamic-code>" else argument for argument in arguments)

    def _besides(self, module: str, code: CodeType | None, notes: Any, used: dict[str, Any]) -> list[Any]:
        """What will be looked up by name, and no bytecode names as a global."""
        besides: list[Any] = []
        for value in [making.opened(value) for value in used.values()]:
            if code is not None and isinstance(value, ModuleType) and by_value(value.__name__):
                for name in sorted(_attributes(code)):
                    key = self._key(value.__name__, name)
                    if name in vars(value) and key not in self._there:
                        self.names.add(key)
                        besides.append((*key, self._boxed(vars(value)[name])))
        have = vars(sys.modules[module])
        if self._deep and code is not None and _looks_up(_attributes(code)):
            for name, value in [*have.items()]:
                key = self._key(module, name)
                known = name in used or key in self._there or _is_pipeline(value)
                if not known and standin.home_name(value, module) == name and self._travels(value):
                    besides.append((*key, value))
        if self._deep and isinstance(notes, dict):
            words = [word for note in notes.values() if isinstance(note, str) for word in _WORD.findall(note)]
            for word in dict.fromkeys(words):
                key = self._key(module, word)
                if word in have and word not in used and key not in self._there and self._is_type(have[word]):
                    besides.append((*key, have[word]))
        return besides

    def _is_type(self, value: Any) -> bool:
        """Something that an annotation may name, and that travels: it is no reason to refuse what works without."""
        if not isinstance(value, (type, ModuleType)) and type(value).__module__ not in ("typing", "types"):
            return False
        return self._travels(value)

    def _travels(self, value: Any) -> bool:
        stream = io.BytesIO()
        try:
            Definer(stream, self._hooks, self._there, deep=False).dump(value)
        except Exception:
            return False
        return stream.tell() <= LARGEST_GUESS

    # --- classes ---

    def _class(self, obj: type) -> Any:
        if not by_value(getattr(obj, "__module__", None)) or getattr(types, obj.__name__, None) is obj:
            return self._by_reference(obj)
        key = self._key(obj.__module__, standin.class_name(obj))
        if key in self._there:
            return standin.find, key
        self._kept.append(obj)
        self._note(key)
        _, arguments, (attributes, _), *_ = parts._dynamic_class_reduce(obj)
        attributes.pop("__dict__", None)
        members: dict[str, Any] = {}
        called, bases = obj.__name__, obj.__bases__
        notes = attributes.get("__annotations__", {})
        new: Callable[..., Any]
        if isinstance(obj, EnumMeta):
            all_of: dict[str, Any] = dict(obj.__members__)
            members = {name: _own(member) for name, member in all_of.items()}
            for name in all_of:
                attributes.pop(name, None)
            values = {name: member.value for name, member in all_of.items()}
            new, arguments = making.new_enum, (*key, bases, called, values)
        elif typing.is_typeddict(obj):
            notes = dict(obj.__annotations__)
            new, arguments = making.new_typed_dict, (*key, called, notes, obj.__total__)  # type: ignore[attr-defined]
        elif (struct := struct_of(obj)) is not None:
            post = attributes.pop("__post_init__", None)
            attributes = without(attributes, obj, struct.fields)
            if post is not None:
                attributes[making.POST_INIT] = post
            new = making.new_struct
            arguments = (*key, struct.make, called, struct.bases, struct.rows, struct.options, bool(post))
        else:
            body = dict(arguments[3])
            body.setdefault("__module__", obj.__module__)
            body["__qualname__"] = obj.__qualname__
            if "__orig_bases__" in vars(obj):
                body["__orig_bases__"] = attributes.pop("__orig_bases__")
            if "__slots__" in vars(obj):
                body["__slots__"] = attributes.pop("__slots__", ())
            attributes = {
                name: value for name, value in attributes.items() if not isinstance(value, types.MemberDescriptorType)
            }
            new, arguments = making.new_kind, (*key, type(obj), called, bases, body)
        state = {name: value if name == "_abc_impl" else self._boxed(value) for name, value in attributes.items()}
        besides = self._besides(obj.__module__, None, notes, {})
        return new, arguments, (state, members, besides), None, None, making.set_class

    # --- the rest ---

    def named(self, obj: Any, make: Any, arguments: Any, fill: Any = None, value: Any = None, name: str = "") -> Any:
        """Something that its module may have under its name."""
        module = getattr(obj, "__module__", None) or ""
        name = (name or standin.home_name(obj)) if by_value(module) else ""
        key = self._key(module, name)
        if name and key in self._there:
            return standin.find, key
        self._note(key)
        made = making.named, (*key, make, *arguments)
        if fill is None:
            return made
        return (*made, (fill, value, bool(name)), None, None, making.set_named)

    def _boxed(self, value: Any) -> Any:
        """A value that a module or a class holds: locks in it may be new ones in each worker.

        One in a pipeline or in a closure may not: who put it there may think that all workers share it.
        """
        if isinstance(value, _PLAIN):
            return value
        box = making.Box((value,))
        self._kept.append(box)
        return Boxed(box)

    def in_box(self, box: making.Box) -> Iterator[Any]:
        """What a box holds, as held."""
        # A pickler asks for the second before it writes the first, and for the third when both are written.
        self.held += 1
        yield box[0]
        yield None
        self.held -= 1

    def _key(self, module: str, name: str) -> Name:
        return (MAIN if module in MAINS else module), name

    def _note(self, key: Name) -> None:
        self.modules.add(key[0])
        if key[1]:
            self.names.add(key)


def _by_name(obj: Any) -> bool:
    return isinstance(obj, BuiltinFunctionType) or bool(parts._should_pickle_by_reference(obj))


def _attributes(code: CodeType) -> set[str]:
    """All names in a code and in those inside of it."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*map(_attributes, inner))


def _looks_up(names: set[str]) -> bool:
    """Whether such code may look for anything of its module by a name that is not written there."""
    return bool(names & {"globals", "eval", "exec"}) or ("pickle" in names and bool(names & {"loads", "load"}))


def _is_pipeline(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, PipelineEngine)


def _own(member: Any) -> dict[str, Any]:
    """What a member of an enumeration has of its own."""
    kept = ("_value_", "_name_", "__objclass__", "_sort_order_")
    return {name: value for name, value in vars(member).items() if name not in kept}
