"""What the library logs, shown on standard error where nobody else has seen to it."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, Final

import click

from pipeframe_async.cli.exits import printable

LEVELS: Final = ("debug", "info", "warning", "error")

LOG_LEVEL: Final = click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="warning",
    show_default=True,
    help="Least severe messages of the library that are shown, where the pipeline's module sets up no logging itself.",
)


class _Shown(logging.Handler):
    """Writes to what standard error is at the moment: a progress bar may stand there."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError, AttributeError):  # it was closed, or there is none
            sys.stderr.write(f"{record.levelname.capitalize()}: {printable(self.format(record))}\n")


def show_logs(level: str) -> Any:
    """Show messages from this level on; nothing where the program has handlers of its own.

    Returns:
        What shows them, to be removed by tests.
    """
    logger = logging.getLogger("pipeframe_async")
    if logging.getLogger().handlers or any(not isinstance(known, logging.NullHandler) for known in logger.handlers):
        return None
    handler = _Shown(level.upper())
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(level.upper())
    return handler
