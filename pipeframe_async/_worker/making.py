"""What pickles of definitions call where they are read: functions, classes and the like, made or found.

Comes in: what `executors/defining/` has taken apart. In the program's own process what has a name is found and
left as it is. Elsewhere it is made in the stand-ins that are being loaded. Only the making is here.
"""

from __future__ import annotations

import contextvars
import enum
import functools
import io
import linecache
import pickle
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

from pipeframe_async._worker import standin
from pipeframe_async._worker.standin import Parcel, StandIns

MAGIC = b"pipeframe-definitions\n"
"""What our pickles of definitions begin with. Behind it: a head, which says where they are at home, and the value."""


class Head(typing.NamedTuple):
    """What must be known before definitions are read."""

    home: str
    about: Mapping[str, Mapping[str, Any]]
    guarded: bool
    sources: Mapping[str, str]


def standins_for(data: bytes) -> StandIns | None:
    """Where these definitions are to be put; None for those that are at home here, or are nobody's."""
    if not data.startswith(MAGIC) or _head(io.BytesIO(data)).home == standin.home:
        return None
    return StandIns()


def load(data: bytes, standins: StandIns | None) -> Any:
    """Read definitions; `standins`: where they are put, from `standins_for`."""
    if not data.startswith(MAGIC):
        return pickle.loads(data)  # noqa: S301 - our parent's own bytes
    stream = io.BytesIO(data)
    head = _head(stream)
    if standins is None:
        return pickle.load(stream)  # noqa: S301 - as above
    standins.describe(head.about, head.guarded)
    for name, text in head.sources.items():
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    with standin.loads_into(standins):
        return pickle.load(stream)  # noqa: S301 - as above


def _head(stream: io.BytesIO) -> Head:
    stream.seek(len(MAGIC))
    return Head(*pickle.load(stream))  # noqa: S301 - as above


def supply(standins: StandIns, parcel: Parcel) -> None:
    """Put in what records need; what was put in before in the same words stays as it is."""
    standins.refused.clear()
    standins.refused.update(parcel.refused)
    same = 0
    while same < min(len(parcel.more), len(standins.applied)) and parcel.more[same] == standins.applied[same]:
        same += 1
    for asked, data in parcel.more[same:]:
        try:
            ((_, value),) = load(data, standins).items()
        except Exception as error:  # that of the records which name it, and of no others
            standins.refused[asked] = (
                f"{asked[1]} of {asked[0]} cannot be made in a worker: {type(error).__name__}: {error}. "
                "Move it to a module of its own beside the script, which workers import"
            )
            continue
        module = standins.module(asked[0])
        if asked[1] and not asked[1].startswith(standin.UNNAMED):
            module.__dict__[asked[1]] = value
    standins.applied = [*parcel.more]
    standins.tag = parcel.tag


class Box(list[Any]):
    """Holds one value in a pickle, and what marks its end."""


def opened(value: Any) -> Any:
    """A value, out of its box."""
    return value[0] if type(value) is Box else value


# --- functions -----------------------------------------------------------------------------------------------------


def function(module: str, name: str, code: CodeType, closure: Any) -> Any:
    """A function of a module that cannot be imported."""
    standins = standin.loading()
    if standins is None:
        if name:
            return standin.find(module, name)
        return FunctionType(code, vars(sys.modules[module]), None, None, closure)
    made = FunctionType(code, standins.module(module).__dict__, None, None, closure)
    if name:
        standins.put((module, name), made)
    return made


def set_function(made: Any, state: Any) -> None:
    """Its attributes, and the globals it uses."""
    attributes, slots, besides, named = state
    standins = standin.loading()
    used = slots["__globals__"]
    slots["__globals__"] = {}
    if standins is None:
        if named:
            return
    else:
        slots["__globals__"] = {name: opened(value) for name, value in used.items()}
        put_besides(standins, besides)
    slots.pop("_cloudpickle_submodules", None)
    made.__globals__.update(slots.pop("__globals__"))
    for cell, full in zip(made.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        with suppress(ValueError):  # an empty cell stays one
            cell.cell_contents = full.cell_contents
    made.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(made, name, value)


def put_besides(standins: StandIns, besides: Iterable[tuple[str, str, Any]]) -> None:
    """What is looked up by name where no bytecode says so: in annotations, or as an attribute of a module."""
    for module, name, value in besides:
        standins.module(module).__dict__.setdefault(name, opened(value))


def named(module: str, name: str, make: Callable[..., Any], *arguments: Any) -> Any:
    """Something that its module knows by name: found, or made once and put there."""
    standins = standin.loading()
    if standins is None:
        return standin.find(module, name) if name else make(*arguments)
    if (module, name) in standins.fresh:  # it refers to itself: the inner one is the one
        return standins.made[module, name]
    made = make(*arguments)
    if name:
        standins.put((module, name), made)
    return made


def set_named(made: Any, state: tuple[Callable[[Any, Any], None], Any, bool]) -> None:
    """What can only be set when it is there."""
    fill, value, has_name = state
    if standin.loading() is not None or not has_name:
        fill(made, value)


def cache(maxsize: int | None, typed: bool, wrapped: Any) -> Any:
    """An empty `functools.lru_cache`."""
    return functools.lru_cache(maxsize, typed)(wrapped)


def fill_attributes(made: Any, attributes: Mapping[str, Any]) -> None:
    """Set them."""
    made.__dict__.update(attributes)


def dispatcher(default: Any) -> Any:
    """A `functools.singledispatch` function, with nothing registered yet."""
    return functools.singledispatch(default)


def fill_dispatcher(made: Any, registry: Iterable[tuple[type, Any]]) -> None:
    """Register what was registered."""
    for cls, implementation in registry:
        made.register(cls, implementation)


def context_var(name: str, *default: Any) -> Any:
    """A context variable."""
    return contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)


def new_type(name: str, module: str, qualname: str, supertype: Any) -> Any:
    """A `typing.NewType`."""
    made = typing.NewType(name, supertype)  # type: ignore[misc] # a name that is not written out here
    made.__module__, made.__qualname__ = module, qualname
    return made


def attributed(make: Callable[..., Any], module: str, *arguments: Any) -> Any:
    """Something of typing's that says which module it is of."""
    made = make(*arguments)
    with suppress(AttributeError):
        made.__module__ = module
    return made


def alias(name: str, value: Any, parameters: Any) -> Any:
    """A type alias, where Python has those."""
    return typing.TypeAliasType(name, value, type_params=parameters)  # type: ignore[attr-defined, unused-ignore]


def module(name: str) -> ModuleType:
    """A module that cannot be imported."""
    standins = standin.loading()
    return sys.modules[name] if standins is None else standins.module(name)


# --- classes -------------------------------------------------------------------------------------------------------


def new_kind(module: str, name: str, meta: Any, called: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
    """A class with what must be there from its beginning; the rest is set later."""
    standins = standin.loading()
    if standins is None:
        return standin.find(module, name)
    made = _class(standins, meta, called, bases, body)
    standins.put((module, name), made)
    return made


def _class(standins: StandIns, meta: Any, called: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
    maker = next(kind for kind in meta.__mro__ if kind.__module__ not in standins.modules)
    if maker is not meta:
        # The program's own metaclass has done its work where the class was made; what it did comes with the state.
        with _quiet(standins, bases):
            return maker.__new__(meta, called, bases, body)
    try:
        with _quiet(standins, bases):
            return meta(called, bases, dict(body))
    except TypeError:  # a base of a library that wants to be told more: keep it from being asked
        with _quiet(standins, bases, every=True):
            return meta(called, bases, dict(body))


def _silent(cls: type, /, **options: Any) -> None:
    """An `__init_subclass__` that does nothing."""


@contextmanager
def _quiet(standins: StandIns, bases: Iterable[Any], *, every: bool = False) -> Iterator[None]:
    """The program's `__init_subclass__` hooks have done their work as well: what they did comes with the state."""
    hooks = {}
    for base in bases:
        for cls in getattr(base, "__mro__", ()):
            if cls is not object and "__init_subclass__" in vars(cls) and (every or cls.__module__ in standins.modules):
                hooks[cls] = vars(cls)["__init_subclass__"]
    for cls in hooks:
        type.__setattr__(cls, "__init_subclass__", classmethod(_silent))
    try:
        yield
    finally:
        for cls, hook in hooks.items():
            type.__setattr__(cls, "__init_subclass__", hook)


def new_enum(module: str, name: str, bases: tuple[Any, ...], called: str, members: dict[str, Any]) -> Any:
    """An enumeration with its members, aliases too."""
    standins = standin.loading()
    if standins is None:
        return standin.find(module, name)
    meta: Any = type(bases[-1])
    body = meta.__prepare__(called, bases)
    for member, value in members.items():
        body[member] = value
    with _quiet(standins, bases):
        made = meta.__new__(meta, called, bases, body)
    made.__module__, made.__qualname__ = module, called
    standins.put((module, name), made)
    return made


def new_typed_dict(module: str, name: str, called: str, fields: dict[str, Any], total: bool) -> Any:
    """A `typing.TypedDict`."""
    standins = standin.loading()
    if standins is None:
        return standin.find(module, name)
    made = typing.TypedDict(called, fields, total=total)  # type: ignore[misc] # names that are known when it runs
    standins.put((module, name), made)
    return made


def field_of(field: Any, factory: Any) -> Any:
    """A field of a struct whose default is made anew."""
    return field(default_factory=factory)


POST_INIT = "_pipeframe_post_init"


def new_struct(
    module: str,
    name: str,
    make: Callable[..., Any],
    called: str,
    bases: tuple[Any, ...],
    fields: list[Any],
    options: dict[str, Any],
    post: bool,
) -> Any:
    """A `msgspec.Struct`, whose fields must be there from its beginning; `make` is `msgspec.defstruct`."""
    standins = standin.loading()
    if standins is None:
        return standin.find(module, name)
    body = {"__post_init__": lambda self: getattr(self, POST_INIT)()} if post else {}
    made = make(called, fields, bases=bases or None, module=module, namespace=body, **options)
    standins.put((module, name), made)
    return made


def set_class(made: Any, state: tuple[dict[str, Any], Any, Any]) -> None:
    """All that a class has, but what it was made with."""
    attributes, members, besides = state
    standins = standin.loading()
    if standins is None:
        return
    program_s_own = type(made).__module__ in standins.modules
    registered: Iterable[type] = ()
    for name, value in attributes.items():
        if name == "_abc_impl":
            registered = value
        elif program_s_own:
            type.__setattr__(made, name, opened(value))
        else:
            setattr(made, name, opened(value))
    if sys.version_info >= (3, 13) and "__firstlineno__" in attributes:
        made.__firstlineno__ = attributes["__firstlineno__"]  # setting others takes it away
    for cls in registered:
        made.register(cls)
    if issubclass(type(made), enum.EnumMeta):
        for name, values in members.items():
            made.__members__[name].__dict__.update(values)
    put_besides(standins, besides)
