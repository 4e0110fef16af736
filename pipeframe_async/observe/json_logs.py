"""A log record as one line of JSON, for whatever collects logs.

Comes in: a log record, of a step or of anything else. Goes out: one line; it never fails for what is in a record.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

OWN: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
PLACE: Final = ("pipeframe_pipeline", "pipeframe_step", "pipeframe_position", "pipeframe_worker")


class JsonFormatter(logging.Formatter):
    """`event` (always `"log"`), `time`, `level`, `logger`, `message`, `process`, `thread`; where there are such the
    four `pipeframe_*` attributes, `exception` and `stack` as text, and `extra`: all further fields of the record.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        held = vars(record)
        told: dict[str, Any] = {
            "event": "log",
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
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
        return json.dumps(told, default=_shown)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
