"""The commands put together, and the exit code they end with."""

from __future__ import annotations

import sys

import click

from pipeframe_async.cli.check import check
from pipeframe_async.cli.dead import dead
from pipeframe_async.cli.demo import demo
from pipeframe_async.cli.doctor import VERSION, doctor
from pipeframe_async.cli.exits import DONE, INTERRUPTED
from pipeframe_async.cli.health import health
from pipeframe_async.cli.run import run
from pipeframe_async.cli.state import state


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="pipeframe_async")
def commands() -> None:
    """An async feed, steps in all your cores, results in order.

    Exit codes: 0 done, 1 failed records, failed acks or an error, 2 usage, 130 interrupted.
    """


for command in (run, check, demo, state, dead, health, doctor):
    commands.add_command(command)


def program(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; those of this process where None.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a console that cannot say `µs` is no reason to fail
    try:
        code = commands.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    return code if isinstance(code, int) else DONE
