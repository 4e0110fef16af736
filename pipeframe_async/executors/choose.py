"""From the `executor=` knob to an executor. Checked first, made later: checking starts nothing."""

from __future__ import annotations

from concurrent.futures import Executor as AnyExecutor

from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors import hosts
from pipeframe_async.executors.auto import AutoExecutor
from pipeframe_async.executors.cores import default_workers
from pipeframe_async.executors.inline import InlineExecutor
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.executors.shared import SharedExecutor
from pipeframe_async.executors.threads import ThreadsExecutor

NAMES = ("processes", "threads", "inline", "auto")
OWN_PROCESSES = ("processes", "auto")
"""Those whose workers are processes of ours."""


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


def workers(executor: str | AnyExecutor, cpu_count: object) -> int:
    """How many workers: as said, else as many as the given executor has, else the usable cores but one.

    Raises:
        ConfigError: `cpu_count` is no count.
    """
    if cpu_count is not None:
        if isinstance(cpu_count, bool) or not isinstance(cpu_count, int) or cpu_count < 1:
            raise ConfigError(
                f"cpu_count={cpu_count!r}: must be an int of at least 1; None for all usable cores but one"
            )
        return cpu_count
    has = getattr(executor, "_max_workers", None)  # no public name, but the same one in the standard pools and loky
    return has if isinstance(has, int) and has > 0 else default_workers()


def wear(executor: str | AnyExecutor, max_worker_rss: int | None, max_worker_batches: int | None) -> Wear:
    """When workers are replaced, checked.

    Raises:
        ConfigError: a limit is no count, or the executor's workers are not ours to replace.
    """
    limits = {"max_worker_rss": max_worker_rss, "max_worker_batches": max_worker_batches}
    for name, limit in limits.items():
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"{name}={limit!r}: must be an int of at least 1; None for no limit")
        if executor not in OWN_PROCESSES:
            raise ConfigError(
                f"{name}={limit!r}: only executor='processes' and 'auto' have workers that can be replaced"
            )
    return Wear(max_batches=max_worker_batches, max_rss=max_worker_rss)


def make(executor: str | AnyExecutor, workers: int, wear: Wear = NO_WEAR) -> Executor:
    """An executor with so many workers."""
    match executor:
        case "processes":
            hosts.check_semaphores()
            return ProcessLanes(workers, wear=wear)
        case "auto":
            hosts.check_semaphores()
            return AutoExecutor(workers, wear=wear)
        case "threads":
            return ThreadsExecutor(workers)
        case "inline":
            return InlineExecutor()
        case AnyExecutor():
            return SharedExecutor(executor, workers)
    raise ConfigError(f"executor={executor!r} is not known")
