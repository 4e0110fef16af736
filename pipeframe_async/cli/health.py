"""`pipeframe health FILE`: whether the program that writes this file is well; for probes that run a command."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pipeframe_async.cli.exits import DONE, FAILED, explained
from pipeframe_async.observe.health_file import problem


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--ready", is_flag=True, help="It must be ready to take more, too.")
@explained
def health(file: Path, ready: bool) -> int:
    """Say whether a program is live, by the file it keeps (PipeFrame(health_file=...), run --health-file).

    Exit code 0 where it is, 1 where it is not, or nobody has written the file for 10 s.
    """
    if wrong := problem(file, ready=ready, now=time.time()):
        click.echo(wrong, err=True)
        return FAILED
    click.echo("ready" if ready else "live")
    return DONE
