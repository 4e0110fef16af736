"""A record that is kept: as JSON where that gives back what it was, as bytes where it is bytes, else as a pickle.

Reading a pickle runs whatever its writer has put in it: that is done for those who trust the writer, and nobody else.
"""

from __future__ import annotations

import json
import pickle
from base64 import b64decode, b64encode
from math import isfinite
from typing import Any, Literal, NamedTuple

from pipeframe_async.errors import StateError

Form = Literal["json", "bytes", "pickle", "repr"]


class Kept(NamedTuple):
    """A record as bytes, and of which form they are; one of the form `"repr"` is only to be looked at."""

    form: Form
    data: bytes


def kept(record: Any) -> Kept:
    """Keep a record. Never raises."""
    if type(record) is bytes:
        return Kept("bytes", record)
    try:
        if _is_json(record):
            return Kept("json", json.dumps(record, separators=(",", ":")).encode())
    except (ValueError, RecursionError):  # it contains itself, or is nested without end
        pass
    try:
        pickled = pickle.dumps(record, 5)
    except Exception:
        return Kept("repr", represented(record).encode("utf-8", "backslashreplace"))
    return Kept("pickle", pickled)


def given_back(one: Kept, *, trust: bool) -> Any:
    """The record that was kept.

    Raises:
        StateError: it is a pickle, which nobody has said to trust; or is of no form that can be given back.
        Exception: whatever reading a pickle raises.
    """
    match one.form:
        case "json":
            return json.loads(one.data)
        case "bytes":
            return one.data
        case "pickle" if trust:
            return pickle.loads(one.data)  # noqa: S301 - of one who is trusted
        case "pickle":
            raise StateError(
                "it is kept as a pickle, which is read with trust=True (--trust) only: it can run any code"
            )
    raise StateError(f"it could not be pickled, and is kept as a text only: {one.data[:200].decode(errors='replace')}")


def shown(one: Kept) -> tuple[Any, str]:
    """What was kept as a value for JSON, and of which form that is.

    `"json"`: as it is. `"text"`: bytes that are UTF-8. `"base64"` and `"pickle"`: other bytes, and a pickle, in base64.
    `"repr"`: its repr.
    """
    match one.form:
        case "json":
            return json.loads(one.data), "json"
        case "bytes":
            try:
                return one.data.decode(), "text"
            except UnicodeDecodeError:
                return b64encode(one.data).decode(), "base64"
        case "pickle":
            return b64encode(one.data).decode(), "pickle"
    return one.data.decode(), "repr"


def kept_again(value: Any, form: str) -> Kept:
    """The reverse of `shown`.

    Raises:
        ValueError: there is no such form, or it is not of it.
    """
    match form:
        case "json":
            return Kept("json", json.dumps(value).encode())
        case "text":
            return Kept("bytes", value.encode())
        case "base64":
            return Kept("bytes", b64decode(value, validate=True))
        case "pickle":
            return Kept("pickle", b64decode(value, validate=True))
        case "repr":
            return Kept("repr", value.encode())
    raise ValueError(f"there is no form {form!r} of a record")


def _is_json(value: Any) -> bool:
    """Whether JSON gives back what it was: no other types, no keys that become texts."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    if kind is list:
        return all(map(_is_json, value))
    if kind is float:
        return isfinite(value)
    return value is None or kind is str or kind is int or kind is bool


def represented(value: Any) -> str:
    """The repr of a value, whatever that does."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
