"""`--set name=value`: attributes of the pipeline, with the type they have. Nothing is evaluated but literals."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from pipeframe_async.cli.target import Pipeline
from pipeframe_async.pipeline_engine import name_of

BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}

STRUCTURE: Final = {"steps", "feed", "sink", "dead_letter", "checkpoint", "setup", "teardown"}
"""What makes the pipeline this one: code, which no command line should hold."""

UNSET: Final = object()


def apply_settings(pipeline: Pipeline, settings: Sequence[str]) -> None:
    """Set attributes of a pipeline.

    Args:
        pipeline: gets them.
        settings: `name=value` each.

    Raises:
        click.BadParameter: not of that form, no such attribute (the known ones are named), or a value that is
            not of the attribute's type.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise _bad(f"{setting!r} is not of the form name=value")
        known = known_settings(pipeline)
        if name not in known:
            raise _bad(f"{name_of(pipeline)} has no {name!r} to set; it has {', '.join(sorted(known))}")
        setattr(pipeline, name, _read(name, text, known[name]))


def known_settings(pipeline: Pipeline) -> dict[str, Any]:
    """The attributes that can be set, with their present values; `UNSET` where there is only an annotation."""
    found: dict[str, Any] = {}
    for cls in reversed(type(pipeline).__mro__):
        with suppress(NameError):  # an annotation that only the type checker can read
            found |= dict.fromkeys(inspect.get_annotations(cls), UNSET)
        found |= vars(cls)
    found |= getattr(pipeline, "__dict__", {})
    return {name: value for name, value in found.items() if _can_be_set(name, value)}


def _can_be_set(name: str, value: object) -> bool:
    if name.startswith("_") or name in STRUCTURE:
        return False
    return value is UNSET or value is None or isinstance(value, (bool, int, float, str, Path, list, tuple, dict, set))


def _read(name: str, text: str, present: object) -> Any:
    """The text as a value of the type that is there; a number may become another kind of number, or None."""
    match present:
        case str():
            return text
        case Path():
            return Path(text)
        case bool():
            if text.lower() not in BOOLEANS:
                raise _bad(f"{name}={text}: must be true or false")
            return BOOLEANS[text.lower()]
        case int() | float():
            value = _literal(name, text, "a number, or None")
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise _bad(f"{name}={text}: must be a number, or None")
            return value
        case list() | tuple() | dict() | set():
            kind = type(present).__name__
            value = _literal(name, text, f"a {kind}, written as in Python")
            if not isinstance(value, type(present)):
                raise _bad(f"{name}={text}: must be a {kind}, written as in Python")
            return value
    try:
        return _literal(name, text, "")
    except click.BadParameter:
        return text  # nothing tells its type: what is no literal is a string


def _literal(name: str, text: str, wanted: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise _bad(f"{name}={text}: must be {wanted}") from error


def _bad(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="--set")
