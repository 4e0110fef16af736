"""From the `executor=` knob to an executor. Checked first, made later: checking starts nothing."""

from __future__ import annotations

from concurrent.futures import Executor as AnyExecutor

from pipeframe_async.contracts import Executor
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.inline import InlineExecutor
from pipeframe_async.executors.lanes import ProcessLanes
from pipeframe_async.executors.shared import SharedExecutor
from pipeframe_async.executors.threads import ThreadsExecutor

NAMES = ("processes", "threads", "inline")


def check(executor: object) -> str | AnyExecutor:
    """The knob's value, checked.

    Raises:
        ConfigError: it is neither a known name nor a `concurrent.futures.Executor`.
    """
    if executor is None:
        return "processes"
    if isinstance(executor, AnyExecutor) or (isinstance(executor, str) and executor in NAMES):
        return executor
    allowed = ", ".join(repr(name) for name in NAMES)
    raise ConfigError(f"executor={executor!r}: must be {allowed}, or a concurrent.futures.Executor")


def make(executor: str | AnyExecutor, workers: int) -> Executor:
    """An executor with so many workers."""
    match executor:
        case "processes":
            return ProcessLanes(workers)
        case "threads":
            return ThreadsExecutor(workers)
        case "inline":
            return InlineExecutor()
        case AnyExecutor():
            return SharedExecutor(executor, workers)
    raise ConfigError(f"executor={executor!r} is not known")
