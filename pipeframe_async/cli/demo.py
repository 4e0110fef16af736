"""`pipeframe demo`: the main job on real input, the standard library of the Python that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeframe_async.cli.demo_kill import killed_and_resumed
from pipeframe_async.cli.demo_pipeline import StdlibMetrics
from pipeframe_async.cli.demo_tables import show
from pipeframe_async.cli.exits import DONE, INTERRUPTED, explained
from pipeframe_async.cli.options import BUFFER_SIZE, EXECUTOR, PROGRESS, FrameOptions
from pipeframe_async.cli.reporting import reported
from pipeframe_async.executors.cores import usable_cores


@click.command()
@click.option(
    "--dir",
    "root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Measure the Python files below this directory instead of the standard library.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many files.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Where results go, as JSON lines. Default: a new temporary file.",
)
@click.option("--kill", is_flag=True, help="Run it as a job, kill it in the middle before your eyes, and go on.")
@click.option("--cpu-count", type=click.IntRange(min=1), metavar="N", help="Workers. Default: all usable cores.")
@BUFFER_SIZE
@EXECUTOR
@PROGRESS
@explained
def demo(root: Path | None, limit: int | None, output: Path | None, *, kill: bool, **frame: Any) -> int:
    """Measure every Python file of the standard library, on all cores.

    A file that cannot be read or parsed, and some are broken on purpose, is counted as failed. Ends with 0 all
    the same.
    """
    frame["cpu_count"] = frame["cpu_count"] or usable_cores()  # this feed and sink need next to nothing
    if kill and output is not None:
        raise click.UsageError("--kill has a directory of its own for all its files: leave --output out")
    if kill:
        return killed_and_resumed(root, limit, FrameOptions(**frame))
    if output is not None:
        _make(output)
    pipeline = StdlibMetrics(root, limit, output)
    as_json = frame["progress"] == "json"
    report = reported(pipeline, FrameOptions(**frame), first=lambda: show(pipeline, as_json=as_json))
    return INTERRUPTED if report.ended_by == "stopped" else DONE


def _make(output: Path) -> None:
    try:
        output.touch()
    except OSError as error:
        raise click.BadParameter(f"{output} cannot be written: {error.strerror}", param_hint="--output") from error
