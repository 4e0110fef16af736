"""A run for the command line: carried out, and its report printed whatever way it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import click

from pipeframe_async.cli.ends import Ends
from pipeframe_async.cli.options import FrameOptions
from pipeframe_async.cli.target import Pipeline
from pipeframe_async.errors import PipeFrameError
from pipeframe_async.report import RunReport
from pipeframe_async.script import run

NO_ENDS = Ends()


def reported(
    pipeline: Pipeline,
    options: FrameOptions,
    ends: Ends = NO_ENDS,
    *,
    feed: Any = None,
    restart: bool = False,
    first: Callable[[], None] = lambda: None,
) -> RunReport:
    """Run a pipeline and print its report to standard output; to standard error where results go there.

    Args:
        pipeline: what to run.
        options: how; with progress as JSON the report is a line of JSON too.
        ends: of the pipeline; a report that is cut short because nobody reads results any more is not printed.
        feed: in place of the pipeline's own.
        restart: of a job, which begins anew.
        first: called when the run has ended well, before its report is printed.

    Returns:
        The report.

    Raises:
        PipeFrameError: the run failed; its report, where there is one, has been printed.
        KeyboardInterrupt: a second Ctrl-C aborted the run.
    """
    show = partial(print_report, as_json=options.progress == "json", aside=ends.filters)
    try:
        report = run(pipeline, feed, restart=restart, **options.keywords())
    except PipeFrameError as error:
        quiet = ends.filters and isinstance(error.__cause__, BrokenPipeError)
        if error.report is not None and not quiet:
            show(error.report, error=error)
        raise
    except KeyboardInterrupt as error:
        if (books := getattr(error, "report", None)) is not None:
            show(books)
        raise
    first()
    show(report)
    return report


def print_report(report: RunReport, *, as_json: bool, aside: bool = False, error: Exception | None = None) -> None:
    """Print a report as its table, or as one line of JSON with the error's text in it; `aside`: to standard error."""
    if as_json:
        text = None if error is None else f"{type(error).__name__}: {error}"
        told = {**asdict(replace(report, teardowns=[])), "teardowns": report.teardowns, "error": text}
        click.echo(json.dumps({"event": "report", **told}, default=repr), err=aside)
    else:
        click.echo(str(report), err=aside)
