"""The synchronous front for scripts: `pipeframe_async.run(MyPipeline)`."""

from __future__ import annotations

import asyncio
import inspect
from difflib import get_close_matches
from typing import Any

from pipeframe_async._worker.surroundings import open_standard_streams
from pipeframe_async.errors import ConfigError, StateError
from pipeframe_async.frame import In, Out, PipeFrame
from pipeframe_async.model import FeedLike
from pipeframe_async.pipeline import PipelineEngine
from pipeframe_async.portal import loop_factory
from pipeframe_async.report import RunReport


def run(
    pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
    feed: FeedLike[In] | None = None,
    *,
    load: FeedLike[In] | None = None,
    restart: bool = False,
    **options: Any,
) -> RunReport:
    """Run a pipeline from a script, on an event loop of its own: uvloop where it is installed.

    SIGINT and SIGTERM stop the run in good order, a second one aborts it.

    Args:
        pipeline: a `PipelineEngine` subclass, or an instance of one.
        feed: replaces the pipeline's own feed.
        load: the original's name for `feed`.
        restart: of a pipeline with a `checkpoint`: begin anew, whatever was done before.
        options: as `PipeFrame`; `handle_signals` is True here unless said otherwise.

    Returns:
        The report.

    Raises:
        ConfigError: an option is none of `PipeFrame`'s; the message says what it is.
        StateError: an event loop is running: there, `await PipeFrame(...).run(pipeline)`.
        KeyboardInterrupt: a second SIGINT aborted the run.
        PipeFrameError: as `PipeFrame.run`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise StateError(
            "pipeframe_async.run() cannot be used while an event loop is running: "
            "write `await PipeFrame(...).run(pipeline)` instead"
        )
    open_standard_streams()  # uvloop aborts where it is given a number that a closed one left free
    _check(options)
    frame = PipeFrame(**{"handle_signals": True, **options})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            return runner.run(frame.run(pipeline, feed, load=load, restart=restart))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


WORKERS = ("workers", "max_workers", "processes", "n_jobs", "num_workers")
"""What others call `cpu_count`."""


def _check(options: dict[str, Any]) -> None:
    known = inspect.signature(PipeFrame).parameters
    for name in options.keys() - known.keys():
        if hasattr(PipelineEngine, name):
            hint = f"it belongs to the pipeline: set `{name}` in its class"
        elif meant := ["cpu_count"] if name in WORKERS else get_close_matches(name, known, 1):
            hint = f"did you mean {meant[0]}?"
        else:
            hint = f"there are {', '.join(known)}"
        raise ConfigError(f"run() has no option {name}={options[name]!r}: {hint}")
