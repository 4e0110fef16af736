"""What the library logs, shown on standard error where nobody else has seen to it."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, Final

import click

from pipeframe_async.cli.exits import printable
from pipeframe_async.observe.json_logs import JsonFormatter
from pipeframe_async.observe.watching import MONITOR

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")
LIBRARY: Final = "pipeframe_async"

LOG_LEVEL: Final = click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="warning",
    show_default=True,
    help="Least severe log lines that are shown, of the library and of steps, where the pipeline's module sets up no "
    "logging itself.",
)
LOG_FORMAT: Final = click.option(
    "--log-format",
    type=click.Choice(FORMATS, case_sensitive=False),
    default="text",
    show_default=True,
    help="How they are shown; json: one object a line, with the step, the worker and the feed position.",
)


class _Shown(logging.Handler):
    """Writes to what standard error is at the moment: a progress bar may stand there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        with suppress(OSError, ValueError, AttributeError):  # it was closed, or there is none
            sys.stderr.write(f"{line}\n")


class _Text(logging.Formatter):
    """For people: who says it, where it is not the library."""

    def format(self, record: logging.LogRecord) -> str:
        who = "" if record.name.partition(".")[0] == LIBRARY else f"{record.name}: "
        return f"{record.levelname.capitalize()}: {who}{printable(super().format(record))}"


def show_monitor() -> logging.Handler:
    """Say where the monitor is, whatever else is shown. Returns what does, to be removed by tests."""
    logger, handler = logging.getLogger(MONITOR), _Shown(logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler


def show_logs(level: str, form: str = "text") -> Any:
    """Show log lines from this level on, those of steps too; nothing where the program has handlers of its own.

    Returns:
        What shows them, to be removed by tests.
    """
    root, logger = logging.getLogger(), logging.getLogger(LIBRARY)
    if root.handlers or any(not isinstance(known, logging.NullHandler) for known in logger.handlers):
        return None
    handler = _Shown(level.upper())
    handler.setFormatter(JsonFormatter() if form == "json" else _Text())
    root.addHandler(handler)
    if root.level in (logging.NOTSET, logging.WARNING):  # what it has where nobody has set it
        root.setLevel(level.upper())
    return handler
