"""The short forms, for scripts: `run` and `stream`, which need no loop, and `pipeline`, which needs no class."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Hashable, Iterable
from concurrent.futures import Executor as AnyExecutor
from os import PathLike
from types import ModuleType
from typing import Any, Literal, Protocol, TypedDict, Unpack

from pipeframe_async._worker.surroundings import open_standard_streams
from pipeframe_async.checkpoint import Checkpoint
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import ConfigError, StateError
from pipeframe_async.frame import In, Out, PipeFrame, refuse_options
from pipeframe_async.iterating import iterated
from pipeframe_async.model import FeedLike
from pipeframe_async.pipeline_engine import Pipeline, PipelineEngine, Retry
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


class Writes(Protocol):
    """A sink or dead letter that is an object: it has a `write`."""

    @property
    def write(self) -> Callable[..., object]:
        """Takes a list of records."""


class Attributes(TypedDict, total=False):
    """What `pipeline` takes: what a class may have, which `PipelineEngine` says."""

    feed: FeedLike[Any]
    source: Literal["batch", "stream"]
    timeout: float | None
    order: Literal["input", "completion"] | Callable[[Any], Hashable]
    time_limit: float | None
    retry: Retry | None
    async_concurrency: int
    max_failures: int | float | None
    batch_size: int | None
    checkpoint: str | PathLike[str] | Checkpoint | None
    sink: Callable[[list[Any]], object] | Writes
    dead_letter: Callable[[list[Any]], object] | Writes
    on_progress: Callable[[int], object]
    setup: Callable[[], object]
    teardown: Callable[[], object]


def pipeline(*steps: Callable[..., object], **attributes: Unpack[Attributes]) -> PipelineEngine[Any, Any]:
    """Make a pipeline without a class: `pipeline(apply(parse), keep_if(is_paid), order="completion")`.

    Args:
        steps: as in the list that a class has: functions that return pairs, `apply` of others.
        attributes: what the class would have, by name: `PipelineEngine` says what each is. Functions among them are not
            methods: a `sink` takes the list of results and nothing else, a `setup` no arguments.

    Returns:
        The pipeline, for `run`, `stream` and a `PipeFrame`; it may be used again.

    Raises:
        ConfigError: there are no steps; or an attribute is none a pipeline has, and the message says what it is.
    """
    if "steps" in attributes or isinstance(next(iter(steps), None), (list, tuple)):
        raise ConfigError("pipeline() takes its steps one by one, not in a list: pipeline(apply(parse), price)")
    if not steps:
        raise ConfigError("pipeline() needs at least one step, e.g. pipeline(apply(parse))")
    refuse_options("pipeline()", attributes, tuple(Attributes.__annotations__))
    return Pipeline({"steps": steps, **attributes})


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

    Cancellation: there is none but by signals; with `handle_signals=False` a Ctrl-C gives up what is in flight.

    Process: the parent, whose main thread has the loop as long as it runs; `def` steps run in the workers.
    """
    _no_loop("run()", "write `await PipeFrame(...).run(pipeline)`")
    frame = _frame("run()", {"handle_signals": True, **options})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            return runner.run(frame.run(pipeline, feed, load=load, restart=restart))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def stream(
    pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
    feed: FeedLike[In] | None = None,
    *,
    load: FeedLike[In] | None = None,
    restart: bool = False,
    **options: Unpack[Options],
) -> Generator[Out, None, RunReport]:
    """Iterate the results of a pipeline, in a plain `for` of a script.

    The event loop is in a thread of its own, and begins with the first result that is asked for. A slow `for` slows the
    feed. Leaving it, and closing or dropping the generator, stops the work and waits until nothing of it is left.

    Args:
        pipeline: a `PipelineEngine` subclass, or an instance of one. Its `sink` is not called.
        feed: replaces the pipeline's own feed.
        load: the original's name for `feed`.
        restart: of a pipeline with a `checkpoint`: begin anew, whatever was done before.
        options: as `PipeFrame`. Signals are the program's own: a Ctrl-C is raised in the `for`.

    Returns:
        A generator of the results, in the pipeline's `order`. A list of them is taken from the run at a time, and
        counts as delivered. What the generator returns is the report: `report = yield from stream(P)`.

    Raises:
        ConfigError: an option is none of `PipeFrame`'s; the message says what it is.
        StateError: an event loop is running: there, `async with PipeFrame(...).stream(pipeline) as results`.
        PipeFrameError: as `PipeFrame.stream`, in the `for`, after the last result.

    Cancellation: whatever leaves the `for`, an exception or a Ctrl-C too, gives up what is in flight.

    Process: the parent, with the loop in a thread of its own; `def` steps run in the workers.
    """
    _no_loop("stream()", "iterate by `async for` what `async with PipeFrame(...).stream(pipeline) as results` gives")
    if feed is not None and load is not None:
        raise ConfigError("feed= and load= are two names for one thing: pass one of them")
    return iterated(_frame("stream()", {**options}), pipeline, feed if feed is not None else load, restart=restart)


def _no_loop(caller: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StateError(
        f"pipeframe_async.{caller} cannot be used while an event loop is running, as in a notebook; there, {instead}"
    )


def _frame(caller: str, options: dict[str, Any]) -> PipeFrame:
    refuse_options(caller, options)
    open_standard_streams()  # uvloop aborts where it is given a number that a closed one left free
    return PipeFrame(**options)
