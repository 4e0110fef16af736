"""A log record as plain data, bounded, and a log record of that again.

Comes in: a `LogRecord` of the standard library, with objects of the user's in it. Goes out: texts and numbers: nothing
of the user's crosses the border, and what cannot be shown costs its own place and no more.

Process: `logged` runs where the line is logged; `record_of` where it is handled.
"""

from __future__ import annotations

import io
import logging
import math
import traceback
from typing import Any, Final, NamedTuple

MESSAGE_LIMIT: Final = 16 * 1024
"""Characters of a message that travel. Smaller cuts what people write on purpose, larger lets one line fill the way."""
EXC_LIMIT: Final = 64 * 1024
"""Characters of a traceback, as of a failure's: of a longer one its end."""
FIELD_LIMIT: Final = 2 * 1024
"""Characters of an extra field that is text, or has only a repr."""
MOST_FIELDS: Final = 50
"""Extra fields, and items of one that is a collection; more are left out. Larger lets whole records into the log."""
DEPTH: Final = 4
"""How deep collections in an extra field may lie in each other; what is deeper is its repr."""

OWN: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
"""Attributes that every log record has; all others are the user's extra fields."""
PREFIX: Final = "pipeframe_"
"""How the names of attributes begin that say where a line came from."""


class Place(NamedTuple):
    """Where a line was logged: in which batch, at which of its records, in which step of which pipeline; if known."""

    batch: int = 0
    at: int | None = None
    step: str | None = None
    pipeline: str | None = None


NOWHERE: Final = Place()


class Logged(NamedTuple):
    """A line: what its log record had, and its place."""

    name: str
    levelno: int
    levelname: str
    message: str
    created: float
    pathname: str
    lineno: int
    function: str | None
    process: int | None
    process_name: str | None
    thread: int | None
    thread_name: str | None
    task_name: str | None
    exc_text: str | None
    stack_info: str | None
    extra: dict[str, Any] | None
    place: tuple[Any, ...]


def logged(record: logging.LogRecord, place: Place = NOWHERE) -> Logged:
    """A log record as plain data. Never raises."""
    held = vars(record)
    extra = None
    if len(held) > _USUAL or not held.keys() <= OWN:
        extra = {_text(name, 100): plain(value) for name, value in [*held.items()][:1000] if name not in OWN}
        extra = dict([*extra.items()][:MOST_FIELDS]) or None
    return Logged(
        _text(record.name, FIELD_LIMIT),
        int(_number(record.levelno, 0)),
        _text(record.levelname, FIELD_LIMIT),
        _message(record),
        _number(record.created, 0.0),
        _text(record.pathname, FIELD_LIMIT),
        int(_number(record.lineno, 0)),
        None if record.funcName is None else _text(record.funcName, FIELD_LIMIT),
        _number(record.process, None),
        _optional(record.processName),
        _number(record.thread, None),
        _optional(record.threadName),
        _optional(held.get("taskName")),
        _exception(record),
        None if not record.stack_info else _text(record.stack_info, EXC_LIMIT),
        extra,
        tuple(place),
    )


_USUAL = len(vars(logging.makeLogRecord({})))


def record_of(line: Logged, found: dict[str, Any]) -> logging.LogRecord:
    """A log record of a line.

    Args:
        line: as it came.
        found: further attributes.
    """
    told: dict[str, Any] = {
        **(line.extra or {}),
        "name": line.name,
        "levelno": line.levelno,
        "levelname": line.levelname,
        "msg": line.message,
        "args": None,
        "exc_info": None,
        "exc_text": line.exc_text,
        "stack_info": line.stack_info,
        "created": line.created,
        "msecs": float(int((line.created - math.floor(line.created)) * 1000)),
        "pathname": line.pathname,
        "lineno": line.lineno,
        "funcName": line.function,
        "process": line.process,
        "processName": line.process_name,
        "thread": line.thread,
        "threadName": line.thread_name,
        **found,
    }
    file = line.pathname.replace("\\", "/").rpartition("/")[2]
    told["filename"], told["module"] = file, file.rpartition(".")[0] or file
    if line.task_name is not None:
        told["taskName"] = line.task_name
    record = logging.makeLogRecord({})
    began = record.created - record.relativeCreated / 1000
    vars(record).update(told)
    record.relativeCreated = (line.created - began) * 1000
    return record


def plain(value: Any, depth: int = DEPTH) -> Any:
    """A value as JSON has them: itself, or collections of such; else its repr. Never raises."""
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is str:
        return value[:FIELD_LIMIT]
    if kind is int:
        return value if value.bit_length() <= 1024 else f"<int of {value.bit_length()} bits>"
    if depth and kind in (list, tuple):
        return [plain(item, depth - 1) for item in value[:MOST_FIELDS]]
    if depth and kind is dict:
        try:
            pairs = [*value.items()][:MOST_FIELDS]
            return {_text(name, FIELD_LIMIT): plain(item, depth - 1) for name, item in pairs}
        except BaseException:  # another thread changes it
            return "<dict>"
    return _text(value, FIELD_LIMIT, repr)


def _message(record: logging.LogRecord) -> str:
    msg = record.msg
    if not record.args and type(msg) is str:
        return msg[:MESSAGE_LIMIT]
    try:
        return str(record.getMessage())[:MESSAGE_LIMIT]
    except BaseException as error:  # a message that does not fit its arguments; plain Python loses it
        return f"{_text(msg, MESSAGE_LIMIT)} (its arguments {plain(record.args)!r} do not fit: {type(error).__name__})"


def _exception(record: logging.LogRecord) -> str | None:
    """The exception as text, as `logging` writes it."""
    if record.exc_text:
        return _text(record.exc_text, EXC_LIMIT)
    if not record.exc_info:
        return None
    try:
        out = io.StringIO()
        kind, error, trace = record.exc_info
        traceback.print_exception(kind, error, trace, None, out)
        text = out.getvalue().removesuffix("\n")
    except BaseException as problem:
        return f"<the exception could not be written: {type(problem).__name__}>"
    return text if len(text) <= EXC_LIMIT else f"… {text[-EXC_LIMIT:]}"


def _number(value: Any, otherwise: Any) -> Any:
    """A record is made by anybody, who may put anything there."""
    return value if type(value) is int or (type(value) is float and math.isfinite(value)) else otherwise


def _optional(value: Any) -> str | None:
    return None if value is None else _text(value, FIELD_LIMIT)


def _text(value: Any, limit: int, show: Any = str) -> str:
    if type(value) is str and show is str:
        return value[:limit]
    try:
        return str.__getitem__(show(value), slice(limit))
    except BaseException as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
