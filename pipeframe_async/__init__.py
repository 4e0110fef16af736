"""pipeframe_async: records arrive asynchronously, the work on them burns CPU.

An event loop runs your feed; batches of records go to worker processes that run your steps; results come
back in order, with backpressure, and the books balance. Start with `PipelineEngine` and `PipeFrame`.

Public names are imported when they are first used, so that a worker pays only for what it needs.
"""

from __future__ import annotations

import logging
from importlib import import_module

__version__ = "0.1.0"
TYPE_CHECKING = False  # for who checks types it is true, whoever says so: `typing` would be half the import

_HOMES = {
    "AsyncBucket": "_engine.feeding.bucket",
    "Bucket": "_engine.feeding.pump",
    "Checkpoint": "checkpoint",
    "CheckpointMismatch": "errors",
    "Chunk": "model",
    "ConfigError": "errors",
    "DROP": "model",
    "Delivery": "model",
    "Drop": "model",
    "DrainTimeout": "errors",
    "Failure": "model",
    "Child": "model",
    "FeedError": "errors",
    "Health": "stats",
    "InternalError": "errors",
    "Overloaded": "errors",
    "PipeFrame": "frame",
    "PipeFrameError": "errors",
    "PipelineEngine": "pipeline_engine",
    "PipelineFailed": "errors",
    "Results": "_engine.delivering.results",
    "Retry": "pipeline_engine",
    "RunReport": "report",
    "Shared": "shared",
    "Sink": "contracts",
    "SinkError": "errors",
    "Source": "contracts",
    "StateError": "errors",
    "SourceCounts": "stats",
    "Stats": "stats",
    "StepError": "errors",
    "StepReport": "stats",
    "WorkerLost": "errors",
    "apply": "steps",
    "count": "counting",
    "current_traceparent": "traceparent",
    "expand": "steps",
    "fold": "folding",
    "keep_if": "steps",
    "pipeline": "script",
    "run": "script",
    "share": "shared",
    "stream": "script",
    "vectorize": "steps",
}

__all__ = [
    "DROP",
    "AsyncBucket",
    "Bucket",
    "Checkpoint",
    "CheckpointMismatch",
    "Child",
    "Chunk",
    "ConfigError",
    "Delivery",
    "DrainTimeout",
    "Drop",
    "Failure",
    "FeedError",
    "Health",
    "InternalError",
    "Overloaded",
    "PipeFrame",
    "PipeFrameError",
    "PipelineEngine",
    "PipelineFailed",
    "Results",
    "Retry",
    "RunReport",
    "Shared",
    "Sink",
    "SinkError",
    "Source",
    "SourceCounts",
    "StateError",
    "Stats",
    "StepError",
    "StepReport",
    "WorkerLost",
    "apply",
    "count",
    "current_traceparent",
    "expand",
    "fold",
    "keep_if",
    "pipeline",
    "run",
    "share",
    "stream",
    "vectorize",
]

if TYPE_CHECKING:
    from pipeframe_async._engine.delivering.results import Results
    from pipeframe_async._engine.feeding.bucket import AsyncBucket
    from pipeframe_async._engine.feeding.pump import Bucket
    from pipeframe_async.checkpoint import Checkpoint
    from pipeframe_async.contracts import Sink, Source
    from pipeframe_async.counting import count
    from pipeframe_async.errors import (
        CheckpointMismatch,
        ConfigError,
        DrainTimeout,
        FeedError,
        InternalError,
        Overloaded,
        PipeFrameError,
        PipelineFailed,
        SinkError,
        StateError,
        StepError,
        WorkerLost,
    )
    from pipeframe_async.folding import fold
    from pipeframe_async.frame import PipeFrame
    from pipeframe_async.model import DROP, Child, Chunk, Delivery, Drop, Failure
    from pipeframe_async.pipeline_engine import PipelineEngine, Retry
    from pipeframe_async.report import RunReport
    from pipeframe_async.script import pipeline, run, stream
    from pipeframe_async.shared import Shared, share
    from pipeframe_async.stats import Health, SourceCounts, Stats, StepReport
    from pipeframe_async.steps import apply, expand, keep_if, vectorize
    from pipeframe_async.traceparent import current_traceparent

logging.getLogger("pipeframe_async").addHandler(logging.NullHandler())  # nothing prints unless asked


if not TYPE_CHECKING:  # who checks types knows all names, and what is none of them

    def __getattr__(name: str) -> object:
        if (home := _HOMES.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
