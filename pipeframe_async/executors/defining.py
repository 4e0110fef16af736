"""Definitions to bytes: what workers can import goes by reference, what they cannot is taken apart.

Comes in: any value of the program. Goes out: bytes that `_worker/making.py` reads. Modules that no worker can import
are `__main__` and those that were loaded by path. Each name that travels is noted, for what is sent later refers to
those that are there. cloudpickle does the most of it; here is what it cannot do, or does not do as it is needed.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import io
import linecache
import os
import pickle
import re
import sys
import threading
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from enum import EnumMeta
from importlib.machinery import BuiltinImporter
from inspect import Parameter, isclass, signature
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as parts

from pipeframe_async._worker import making, standin
from pipeframe_async._worker.codec import PROTOCOL
from pipeframe_async._worker.standin import MAIN, MAINS, Name
from pipeframe_async.pipeline import PipelineEngine

LARGEST_GUESS = 2**20
"""Bytes of what goes along since its name may be looked up. Less leaves functions behind that use a table; more sends
data that nobody has asked for."""

_WORD = re.compile(r"[A-Za-z_]\w*")
_GUARD = re.compile(r"^if\s+(__name__\s*==\s*['\"]__main__['\"]|['\"]__main__['\"]\s*==\s*__name__)", re.MULTILINE)
_ABOUT = ("__package__", "__file__", "__path__", "__doc__")
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_PLAIN = (int, float, complex, str, bytes, bool, type(None), type, FunctionType, ModuleType)
_ALIAS = getattr(typing, "TypeAliasType", None)
_DISPATCHER = functools.singledispatch(len).__code__  # type: ignore[attr-defined] # a function, in truth
_verdicts: dict[str, tuple[ModuleType, bool]] = {}


def by_value(name: object) -> bool:
    """Whether a module of this name cannot be imported by a worker, though it is here."""
    if name in MAINS:
        return True
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or not isinstance(module, ModuleType):
        return False
    assert isinstance(name, str)
    known = _verdicts.get(name)
    if known is None or known[0] is not module:
        known = _verdicts[name] = module, not _can_be_imported(name, module)
    return known[1]


def _can_be_imported(name: str, module: ModuleType) -> bool:
    """Whether a finder knows it; a part of something compiled is the affair of the package it is in."""
    file = getattr(module, "__file__", None)
    parent, _, _ = name.rpartition(".")
    if parent:
        above = sys.modules.get(parent)
        if above is None or by_value(parent):
            return above is not None and not by_value(parent)
        if not isinstance(file, str) or not file.endswith(".py"):
            return True
    elif name in sys.builtin_module_names or isinstance(getattr(module, "__loader__", None), BuiltinImporter):
        return True
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, path)
        except Exception:  # somebody else's finder, which only the next import would have to bear
            continue
        if found is not None:
            origin = found.origin
            return not (file and origin and os.path.isfile(origin) and os.path.isfile(file)) or os.path.samefile(
                origin, file
            )
    return False


class Defined(typing.NamedTuple):
    """Definitions as bytes, and the names they bring: those that are made, and globals."""

    data: bytes
    names: set[Name]


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
    pickler._held = int(held)
    pickler.dump(value)
    head = making.Head(standin.home, _about(pickler.modules), _guarded(), pickler.sources)
    return Defined(making.MAGIC + pickle.dumps(tuple(head), PROTOCOL) + stream.getvalue(), pickler.names)


def _about(names: set[str]) -> dict[str, dict[str, Any]]:
    """What modules say of themselves."""
    about = {}
    for name in sorted({MAIN, *names}):
        values = vars(sys.modules.get(name, types))
        about[name] = {key: values[key] for key in _ABOUT if isinstance(values.get(key), (str, list))}
        if name != MAIN:
            continue
        about[name].setdefault("__package__", None)
        if _guarded() and (spec := values.get("__spec__")) is not None:
            about[name]["__spec__"] = type(spec)(spec.name, None, origin=spec.origin)
    return about


@functools.lru_cache(16)
def _has_guard(file: str, changed: float) -> bool:
    try:
        with open(file, encoding="utf-8", errors="replace") as source:
            return _GUARD.search(source.read()) is not None
    except OSError:
        return False


def _guarded() -> bool:
    """Whether the main module may be run again, by a process that a step starts."""
    file = getattr(sys.modules.get(MAIN), "__file__", None)
    try:
        return isinstance(file, str) and _has_guard(file, os.stat(file).st_mtime)
    except OSError:
        return False


class Definer(cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of definitions."""

    def __init__(
        self, stream: io.BytesIO, hooks: Callable[[FunctionType], Any] | None, there: frozenset[Name], deep: bool = True
    ) -> None:
        super().__init__(stream, PROTOCOL)
        self.names: set[Name] = set()
        self.modules: set[str] = set()
        self.sources: dict[str, str] = {}
        self._hooks = hooks
        self._there = there
        self._deep = deep  # look after names in annotations
        self._held = 0  # inside of a value that a module or class of the program holds
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
        if (reduce := _REDUCERS.get(kind)) is not None and (reduced := reduce(self, obj)) is not None:
            return reduced
        return super().reducer_override(obj)

    # --- functions ---

    def _function(self, obj: Any) -> Any:
        if self._hooks is not None and (instead := self._hooks(obj)) is not None:
            return instead
        if obj.__code__ is _DISPATCHER and not _importable(obj):
            return self._named(
                obj, making.dispatcher, (obj.registry[object],), making.fill_dispatcher, [*obj.registry.items()]
            )
        if obj.__module__ is None and by_value(parts._whichmodule(obj, obj.__qualname__)):
            return self._dynamic_function_reduce(obj)  # made by a decorator, with globals of its own
        if not by_value(obj.__module__):
            return super().reducer_override(obj)
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
            return super().reducer_override(obj)
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
        elif (struct := _struct(obj)) is not None:
            post = attributes.pop("__post_init__", None)
            attributes = _without(attributes, obj, struct.fields)
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

    def _named(self, obj: Any, make: Any, arguments: Any, fill: Any = None, value: Any = None, name: str = "") -> Any:
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
        return _Boxed(box)

    def _in_box(self, box: making.Box) -> Iterator[Any]:
        # A pickler asks for the second before it writes the first, and for the third when both are written.
        self._held += 1
        yield box[0]
        yield None
        self._held -= 1

    def _key(self, module: str, name: str) -> Name:
        return (MAIN if module in MAINS else module), name

    def _note(self, key: Name) -> None:
        self.modules.add(key[0])
        if key[1]:
            self.names.add(key)

    def _lock(self, obj: Any) -> Any:
        return (_maker_of(type(obj)), ()) if self._held else None


class _Boxed:
    """A box on its way into a pickle."""

    def __init__(self, box: making.Box) -> None:
        self.box = box


def _maker_of(kind: type) -> Callable[[], Any]:
    return threading.Lock if kind is _LOCKS[0] else threading.RLock


def _importable(obj: Any) -> bool:
    return not by_value(obj.__module__) and bool(standin.home_name(obj))


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


class _Struct(typing.NamedTuple):
    make: Any
    fields: tuple[str, ...]
    rows: list[Any]
    options: dict[str, Any]
    bases: tuple[type, ...]


def _struct(obj: Any) -> _Struct | None:
    """A `msgspec.Struct` as `msgspec.defstruct` is told it."""
    msgspec: Any = sys.modules.get("msgspec")
    if msgspec is None or not isinstance(obj, type(msgspec.Struct)):
        return None
    own = [field for field in msgspec.structs.fields(obj) if field.name in obj.__annotations__]
    notes = obj.__annotations__
    rows = []
    for field in own:
        row: tuple[Any, ...] = (field.name, notes[field.name])
        if field.default is not msgspec.NODEFAULT:
            row = (*row, field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            row = (*row, _Factory(field.default_factory, msgspec.field))
        rows.append(row)
    config = obj.__struct_config__
    names = (
        "frozen eq order array_like gc weakref dict cache_hash forbid_unknown_fields omit_defaults repr_omit_defaults"
    )
    options = {name: getattr(config, name) for name in names.split() if hasattr(config, name)}
    options |= {"tag": config.tag, "tag_field": config.tag_field}
    kinds = {parameter.kind for name, parameter in signature(obj).parameters.items() if name in notes}
    if kinds == {Parameter.KEYWORD_ONLY}:
        options["kw_only"] = True
    renamed = {field.name: field.encode_name for field in own if field.encode_name != field.name}
    if renamed:
        options["rename"] = renamed
    bases = tuple(base for base in obj.__bases__ if base is not msgspec.Struct)
    return _Struct(msgspec.defstruct, tuple(field.name for field in own), rows, options, bases)


class _Factory:
    """A default factory on its way."""

    def __init__(self, factory: Any, field: Any) -> None:
        self.factory = factory
        self.field = field

    def __reduce__(self) -> Any:
        return making.field_of, (self.field, self.factory)


def _without(attributes: dict[str, Any], obj: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """Attributes of a struct that it does not have from its making."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in fields
        and not name.startswith(("__struct_", "__match_args__", "__slots__"))
        and not isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType))
    }


def _cache(definer: Definer, obj: Any) -> Any:
    if _importable(obj):
        return None
    wanted = obj.cache_parameters()
    attributes = {name: value for name, value in vars(obj).items() if name not in ("__wrapped__", "cache_parameters")}
    arguments = (wanted["maxsize"], wanted["typed"], obj.__wrapped__)
    return definer._named(obj, making.cache, arguments, making.fill_attributes, attributes)


def _new_type(definer: Definer, obj: Any) -> Any:
    if not by_value(obj.__module__):
        return None
    arguments = (obj.__name__, obj.__module__, obj.__qualname__, obj.__supertype__)
    return definer._named(obj, making.new_type, arguments)


def _of_typing(definer: Definer, obj: Any) -> Any:
    """ParamSpec and TypeVarTuple, which know the module they were made in."""
    if not by_value(obj.__module__):
        return None
    return definer._named(obj, making.attributed, (type(obj), obj.__module__, obj.__name__))


def _type_var(definer: Definer, obj: Any) -> Any:
    if not by_value(obj.__module__):
        return None
    described = (obj.__name__, obj.__bound__, obj.__constraints__, obj.__covariant__, obj.__contravariant__, None)
    return definer._named(obj, making.attributed, (parts._make_typevar, obj.__module__, *described))


def _alias(definer: Definer, obj: Any) -> Any:
    if not by_value(obj.__module__):
        return None
    return definer._named(obj, making.alias, (obj.__name__, obj.__value__, obj.__type_params__))


def _context_var(definer: Definer, obj: Any) -> Any:
    try:
        default = (contextvars.Context().run(obj.get),)
    except LookupError:
        default = ()  # type: ignore[assignment]
    return making.context_var, (obj.name, *default)


def _module(definer: Definer, obj: ModuleType) -> Any:
    if not by_value(obj.__name__):
        return None
    definer.modules.add(obj.__name__)
    return making.module, (obj.__name__,)


def _weak(definer: Definer, obj: Any) -> Any:
    return type(obj), (dict(obj),)


def _missing(definer: Definer, obj: Any) -> Any:
    return getattr, (dataclasses, "MISSING" if obj is dataclasses.MISSING else "KW_ONLY")


_REDUCERS: dict[type, Callable[[Definer, Any], Any]] = {
    _Boxed: lambda definer, obj: (making.Box, (), None, definer._in_box(obj.box)),
    functools._lru_cache_wrapper: _cache,
    typing.NewType: _new_type,
    typing.TypeVar: _type_var,
    typing.ParamSpec: _of_typing,
    typing.TypeVarTuple: _of_typing,
    contextvars.ContextVar: _context_var,
    ModuleType: _module,
    weakref.WeakKeyDictionary: _weak,
    weakref.WeakValueDictionary: _weak,
    threading.local: lambda definer, obj: (threading.local, ()) if definer._held else None,
    type(dataclasses.MISSING): _missing,
    type(dataclasses.KW_ONLY): _missing,
    **dict.fromkeys(_LOCKS, Definer._lock),
}
if _ALIAS is not None:
    _REDUCERS[_ALIAS] = _alias
