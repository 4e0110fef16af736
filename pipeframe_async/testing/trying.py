"""`try_records`: some records through a pipeline, and what they came to. Nothing of the pipeline's ends is used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor as AnyExecutor
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from pipeframe_async.contracts import Executor
from pipeframe_async.frame import PipeFrame
from pipeframe_async.model import AnyFailure, Failure, FeedLike
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.plan import instance_of
from pipeframe_async.report import RunReport
from pipeframe_async.testing.copies import copy_of, stays_at_home
from pipeframe_async.testing.injecting import active
from pipeframe_async.testing.source import FakeSource

In = TypeVar("In")
Out = TypeVar("Out")


class FrameOptions(TypedDict, total=False):
    """What else a `PipeFrame` takes; see there."""

    cpu_count: int | None
    buffer_size: int | None
    buffer_bytes: int
    drain_timeout: float
    progress: bool | str
    name: str | None
    max_worker_rss: int | None
    max_worker_batches: int | None
    worker_timeout: float
    ship_modules: Iterable[ModuleType | str]


@dataclass(frozen=True, slots=True)
class Tried(Generic[In, Out]):
    """What records came to.

    Attributes:
        results: in the pipeline's order.
        failures: of the records that failed, as they came; their order is that of the results where that is the feed's.
        report: the books.
    """

    results: list[Out]
    failures: list[Failure[In]]
    report: RunReport


async def try_records(
    pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
    records: FeedLike[In],
    *,
    executor: str | AnyExecutor | Executor = "inline",
    **options: Unpack[FrameOptions],
) -> Tried[In, Out]:
    """Take records through a pipeline's steps, and keep what they come to.

    The pipeline's own `feed`, `sink`, `dead_letter`, `on_progress` and `checkpoint` are not used, and neither the class
    nor the instance is changed: what is run is a copy, with the same steps, `setup`, `order`, `retry` and limits.

    Args:
        pipeline: a `PipelineEngine` subclass, or an instance of one.
        records: what the first step gets: a list, any form of feed, or a `FakeSource`. The pipeline's own `decode` and
            `encode` belong to its ends, and are not called: a source that is passed here has its own.
        executor: `"inline"`, the default, runs the steps in this process, where a debugger sees them; `"processes"` in
            workers, as in production.
        options: what else `PipeFrame` takes.

    Returns:
        Results, failures and the report. Any number of records may fail: that raises nothing.

    Raises:
        ConfigError: as `PipeFrame.run`; or a fault needs workers, and the executor has none.
        FeedError, SinkError, StepError, WorkerLost: as `PipeFrame.run`; the first two where `feed_error` and
            `sink_error` are to happen.

    Cancellation: as `PipeFrame.run`: workers are ended, and nothing is left.

    Process: steps where the executor runs them; all else in this one.
    """
    engine = instance_of(pipeline)
    kept, failed = Kept(), FailuresKept()
    ends: dict[str, Any] = {"feed": None, "sink": kept, "dead_letter": failed}
    tried = copy_of(engine, **ends, checkpoint=None, on_progress=None, max_failures=None)
    if isinstance(records, FakeSource):
        tried = records.watched(tried)
    frame = PipeFrame(executor=executor, **options)
    if (injected := active()) is None:
        report = await frame.run(tried, records)
    else:
        report = await frame.run(injected.wrapped(tried, records, executor=executor))
        report = replace(report, steps=_without_faults(report, engine))
    return Tried(kept.records, failed.failures, report)


def _without_faults(report: RunReport, engine: PipelineEngine[Any, Any]) -> tuple[Any, ...]:
    """The steps, without that of the faults: it has the name of the one behind it, and behind it are all there were."""
    extra = len(report.steps) - len(engine.steps) - 1
    return tuple(step for number, step in enumerate(report.steps) if number != extra)


class Kept:
    """A sink that keeps what it is given."""

    __reduce__ = stays_at_home

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def write(self, records: Sequence[Any]) -> None:
        """Keep them."""
        self.records.extend(records)


class FailuresKept:
    """A dead letter that keeps what it is given."""

    __reduce__ = stays_at_home

    def __init__(self) -> None:
        self.failures: list[AnyFailure] = []

    async def write(self, failures: Sequence[AnyFailure]) -> None:
        """Keep them."""
        self.failures.extend(failures)
