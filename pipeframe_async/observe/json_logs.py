"""A log record as one line of JSON, for whatever collects logs.

Comes in: a log record, of a step or of anything else. Goes out: one line; it never fails for what is in a record.
"""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime
from typing import Any, Final

OWN: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
PLACE: Final = ("pipeframe_pipeline", "pipeframe_step", "pipeframe_position", "pipeframe_worker")

DEPTH: Final = 6
"""How deep collections may lie in each other where JSON cannot have them as they are; what is deeper is its repr."""


class JsonFormatter(logging.Formatter):
    """`event` (always `"log"`), `time`, `level`, `logger`, `message`, `process`, `thread`; where there are such the
    four `pipeframe_*` attributes, `exception` and `stack` as text, and `extra`: all further fields of the record.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        held = vars(record)
        told: dict[str, Any] = {
            "event": "log",
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "process": record.process,
            "thread": record.threadName,
            **{name: held[name] for name in PLACE if name in held},
        }
        if record.exc_info or record.exc_text:
            told["exception"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        if record.stack_info:
            told["stack"] = record.stack_info
        if extra := {name: value for name, value in held.items() if name not in OWN and name not in PLACE}:
            told["extra"] = extra
        try:
            return json.dumps(told, default=_shown, allow_nan=False)
        except (ValueError, TypeError, RecursionError):  # JSON has no infinity, and only text for keys
            return json.dumps(_plain(told))


def _time(created: float) -> str:
    try:
        return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return repr(created)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # arguments that do not fit, or cannot be shown
        said = record.msg if isinstance(record.msg, str) else _shown(record.msg)
        return f"{said} (its arguments do not fit: {type(error).__name__})"


def _plain(value: object, depth: int = DEPTH) -> object:
    """As JSON can have it; what it cannot is its repr."""
    if value is None or isinstance(value, (str, bool)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and value.bit_length() < 64:
        return value
    if depth and isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    if depth and isinstance(value, dict):
        return {
            name if isinstance(name, str) else _shown(name): _plain(item, depth - 1) for name, item in value.items()
        }
    return _shown(value)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
