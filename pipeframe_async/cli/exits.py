"""How commands end: exit codes, and errors as one readable paragraph on standard error."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

from pipeframe_async.errors import ConfigError, PipeFrameError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


class CommandFailed(click.ClickException):
    """Something of the user's has failed outside a run, importing a module for instance. Its cause has the details."""

    exit_code = FAILED


def explained(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command its --traceback option, and make its errors readable.

    Args:
        command: returns its exit code.
    """

    @click.option("--traceback", "with_traceback", is_flag=True, help="Show where an error comes from.")
    @wraps(command)
    def answered(*, with_traceback: bool, **given: Any) -> int:
        try:
            return command(**given)
        except (PipeFrameError, CommandFailed) as error:
            complain(error, with_traceback=with_traceback)
            return FAILED

    return answered


def complain(error: Exception, *, with_traceback: bool = False) -> None:
    """Say what went wrong, with the tracebacks of the workers, which nothing else would show."""
    if with_traceback:
        click.echo(printable("".join(traceback.format_exception(error))), err=True)
    elif notes := getattr(error, "__notes__", []):
        click.echo(printable("\n".join(notes).rstrip()) + "\n", err=True)
    message = error.message if isinstance(error, click.ClickException) else str(error)
    hidden = error.__cause__ is not None and not isinstance(error, ConfigError) and not with_traceback
    hint = " (--traceback shows where.)" if hidden else ""
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {printable(message)}{hint}", err=True)


def printable(text: str) -> str:
    """Text that may hold a record or a file name, without what would control the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
