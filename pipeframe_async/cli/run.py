"""`pipeframe run module:Pipeline`: runs a pipeline, shows its progress, prints its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeframe_async.cli.ends import Ends
from pipeframe_async.cli.exits import DONE, FAILED, INTERRUPTED, explained
from pipeframe_async.cli.job import keep
from pipeframe_async.cli.logs import LOG_FORMAT, LOG_LEVEL, show_logs, show_monitor
from pipeframe_async.cli.options import (
    PROGRESS,
    FrameOptions,
    ends_options,
    frame_options,
    job_options,
    target_options,
    watched_options,
)
from pipeframe_async.cli.reporting import reported
from pipeframe_async.cli.settings import apply_settings
from pipeframe_async.cli.target import add_app_dir, load_pipeline
from pipeframe_async.errors import SinkError


@click.command()
@target_options
@ends_options
@job_options
@frame_options
@watched_options
@PROGRESS
@LOG_LEVEL
@LOG_FORMAT
@explained
def run(
    target: str,
    app_dir: Path | None,
    settings: tuple[str, ...],
    log_level: str,
    log_format: str,
    feed: str | None,
    sink: str | None,
    dead_letter: str | None,
    checkpoint: Path | None,
    restart: bool,
    **frame: Any,
) -> int:
    """Run a pipeline to its end and print its report.

    With --feed - and --sink - it is a filter: the report goes to standard error then. Ctrl-C stops the feed and
    finishes what is in flight; a second Ctrl-C aborts.
    """
    add_app_dir(app_dir)
    pipeline = load_pipeline(target)
    apply_settings(pipeline, settings)
    ends = Ends(feed, sink, dead_letter)
    ends.put_on(pipeline)
    keep(pipeline, checkpoint)
    show_logs(log_level, log_format)  # now that the module has had its chance to set up logging
    if frame["monitor"] is not None:
        show_monitor()
    try:
        report = reported(pipeline, FrameOptions(**frame), ends, restart=restart)
    except SinkError as error:
        if ends.filters and isinstance(error.__cause__, BrokenPipeError):
            return DONE  # its reader has what it wanted
        raise
    if report.ended_by == "stopped":
        if pipeline.checkpoint is not None:
            click.echo("It goes on there when it is run again.", err=True)
        return INTERRUPTED
    return FAILED if report.failed or report.ack_errors else DONE
