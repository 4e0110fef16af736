"""Results and failures as JSON, and failures as texts: what sinks write where nobody says how."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipeframe_async.keeping import represented
from pipeframe_async.model import Failure


def as_json(
    value: Any, *, encoding: str = "utf-8", default: Callable[[Any], Any] | None = None, end: str = ""
) -> bytes:
    """A result as JSON, or a failure as `Failure.as_dict` has it.

    Args:
        value: the result or failure.
        encoding: of the text.
        default: makes of a value that JSON does not know one that it does.
        end: what is put behind it.
    """
    if isinstance(value, Failure):
        return _dumped(value.as_dict(), encoding, None, end)
    return _dumped(value, encoding, default, end)


def _dumped(value: Any, encoding: str, default: Callable[[Any], Any] | None, end: str) -> bytes:
    try:
        return (json.dumps(value, ensure_ascii=False, default=default, separators=(",", ":")) + end).encode(encoding)
    except UnicodeEncodeError:  # half a surrogate pair, or what the encoding lacks: JSON can escape all of it
        return (json.dumps(value, default=default, separators=(",", ":")) + end).encode(encoding)


def told_of(failure: Failure[Any]) -> dict[str, Any]:
    """A failure as plain values."""
    child = failure.child
    return {
        "record": failure.record,
        "step": failure.step,
        "kind": failure.kind,
        "error_type": failure.error_type,
        "message": failure.message,
        "attempts": failure.attempts,
        "child": None if child is None else {"path": child.path, "value": child.value},
        "traceback": failure.traceback,
    }


def failure_row(failure: Failure[Any]) -> dict[str, Any]:
    """A failure as texts, and its number of attempts: the record, and the child, as JSON or as their repr."""
    told = told_of(failure)
    for name in ("record", "child"):
        if name == "record" or told[name] is not None:
            told[name] = _json_text(told[name])
    return {name: _sound(value) if isinstance(value, str) else value for name, value in told.items()}


def _json_text(value: Any) -> str:
    try:
        return str(_dumped(value, "utf-8", _shown, ""), "utf-8")
    except (TypeError, ValueError, RecursionError):
        return represented(value)


def _sound(text: str) -> str:
    """A text that UTF-8 has: half a surrogate pair is escaped."""
    return str(text.encode("utf-8", "backslashreplace"), "utf-8")


def _shown(value: Any) -> Any:
    """A value that JSON does not know, for somebody to look at."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else represented(value)
