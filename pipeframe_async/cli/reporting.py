"""A run for the command line: carried out, and its report printed whatever way it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import click

from pipeframe_async.cli.options import FrameOptions
from pipeframe_async.cli.target import Pipeline
from pipeframe_async.errors import PipeFrameError
from pipeframe_async.report import RunReport
from pipeframe_async.script import run


def reported(pipeline: Pipeline, options: FrameOptions, *, first: Callable[[], None] = lambda: None) -> RunReport:
    """Run a pipeline and print its report to standard output.

    Args:
        pipeline: what to run.
        options: how; with progress as JSON the report is a line of JSON too.
        first: called when the run has ended well, before its report is printed.

    Returns:
        The report.

    Raises:
        PipeFrameError: the run failed; its report, where there is one, has been printed.
        KeyboardInterrupt: a second Ctrl-C aborted the run.
    """
    try:
        report = run(pipeline, **options.keywords())
    except PipeFrameError as error:
        if error.report is not None:
            print_report(error.report, as_json=options.progress == "json", error=error)
        raise
    except KeyboardInterrupt as error:
        if (books := getattr(error, "report", None)) is not None:
            print_report(books, as_json=options.progress == "json")
        raise
    first()
    print_report(report, as_json=options.progress == "json")
    return report


def print_report(report: RunReport, *, as_json: bool, error: Exception | None = None) -> None:
    """Print a report as its table, or as one line of JSON with the error's text in it."""
    if as_json:
        text = None if error is None else f"{type(error).__name__}: {error}"
        click.echo(json.dumps({"event": "report", **asdict(report), "error": text}))
    else:
        click.echo(str(report))
