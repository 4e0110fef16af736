"""`msgspec.Struct`: a class that knows how it was made, and is made again by `msgspec.defstruct`."""

from __future__ import annotations

import sys
import types
import typing
from inspect import Parameter, signature
from typing import Any

from pipeframe_async._worker import making


class Struct(typing.NamedTuple):
    """What `msgspec.defstruct` is told, and which names are fields."""

    make: Any
    fields: tuple[str, ...]
    rows: list[Any]
    options: dict[str, Any]
    bases: tuple[type, ...]


def struct_of(obj: Any) -> Struct | None:
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
    return Struct(msgspec.defstruct, tuple(field.name for field in own), rows, options, bases)


class _Factory:
    """A default factory on its way."""

    def __init__(self, factory: Any, field: Any) -> None:
        self.factory = factory
        self.field = field

    def __reduce__(self) -> Any:
        return making.field_of, (self.field, self.factory)


def without(attributes: dict[str, Any], obj: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """Attributes of a struct that it does not have from its making."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in fields
        and not name.startswith(("__struct_", "__match_args__", "__slots__"))
        and not isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType))
    }
