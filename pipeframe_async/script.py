"""The synchronous front for scripts: `pipeframe_async.run(MyPipeline)`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor as AnyExecutor
from os import PathLike
from types import ModuleType
from typing import Any, Literal, TypedDict, Unpack

from pipeframe_async._worker.surroundings import open_standard_streams
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import StateError
from pipeframe_async.frame import In, Out, PipeFrame, refuse_options
from pipeframe_async.model import FeedLike
from pipeframe_async.pipeline import PipelineEngine
from pipeframe_async.portal import loop_factory
from pipeframe_async.report import RunReport


class Options(TypedDict, total=False):
    """What `run` and `stream` hand on to `PipeFrame`, which says what each is."""

    cpu_count: int | None
    buffer_size: int | None
    executor: str | AnyExecutor | Executor | None
    buffer_bytes: int
    drain_timeout: float
    handle_signals: bool
    progress: bool | str
    name: str | None
    stream_buffer_size: int | None
    max_worker_rss: int | None
    max_worker_batches: int | None
    worker_timeout: float
    ship_modules: Iterable[ModuleType | str]
    monitor: str | bool
    monitor_token: str | Literal[False] | None
    stall_after: float
    health_file: str | PathLike[str] | None
    report: str | PathLike[str] | None
    call_queue: int


def run(
    pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
    feed: FeedLike[In] | None = None,
    *,
    load: FeedLike[In] | None = None,
    restart: bool = False,
    **options: Unpack[Options],
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
    frame = _frame("run()", {"handle_signals": True, **options})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            return runner.run(frame.run(pipeline, feed, load=load, restart=restart))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def _frame(caller: str, options: dict[str, Any]) -> PipeFrame:
    refuse_options(caller, options)
    return PipeFrame(**options)
