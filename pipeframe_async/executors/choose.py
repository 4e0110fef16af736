"""From the `executor=` knob to an executor. Checked first, made later: checking starts nothing."""

from __future__ import annotations

from concurrent.futures import Executor as AnyExecutor
from typing import cast

from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async._worker.memory import keep_freed
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors import hosts
from pipeframe_async.executors.auto import AutoExecutor
from pipeframe_async.executors.cores import default_workers
from pipeframe_async.executors.dask.at import Cluster, cluster_of
from pipeframe_async.executors.inline import InlineExecutor
from pipeframe_async.executors.lent import MEMBERS, LentExecutor, missing
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.executors.shared import SharedExecutor, said_size
from pipeframe_async.executors.threads import ThreadsExecutor

NAMES = ("processes", "threads", "inline", "auto")
OWN_PROCESSES = ("processes", "auto")
"""Those whose workers are processes of ours."""

WORKER_TIMEOUT = 60.0
"""Seconds without any lane on a cluster, or without its scheduler, after which a run ends with `WorkerLost`. Shorter
does not bear a restart of the scheduler, longer is silence."""

Kind = str | AnyExecutor | Executor | Cluster
"""What the knob may be: a name, somebody's pool, an executor of our own contract, or a cluster."""


def check(executor: object) -> Kind:
    """The knob's value, checked.

    Raises:
        ConfigError: it is no known name, no cluster, no `concurrent.futures.Executor`, and not all of a
            `contracts.Executor`.
    """
    if executor is None:
        return "processes"
    if isinstance(executor, str) and executor in NAMES:
        return executor
    if (cluster := cluster_of(executor)) is not None:
        return cluster
    if isinstance(executor, AnyExecutor):
        return executor
    lacks = [*MEMBERS] if isinstance(executor, type) else missing(executor)
    if not lacks:
        return cast(Executor, executor)
    allowed = ", ".join(repr(name) for name in NAMES)
    text = (
        f"executor={executor!r}: must be {allowed}, 'dask://host:port' or a distributed.Client, or a "
        "concurrent.futures.Executor or contracts.Executor"
    )
    if isinstance(executor, type):
        text += "; this is a class, so pass an instance of it"
    elif any(hasattr(executor, name) for name in MEMBERS):
        text += f"; for the last it lacks {', '.join(lacks)}"
    raise ConfigError(text)


def workers(executor: Kind, cpu_count: object) -> int:
    """How many workers: as said, else as many as the given executor has, else the usable cores but one.

    Of a cluster, and of an executor that says itself how many it has, 0 says that they are asked as they go.

    Raises:
        ConfigError: `cpu_count` is no count, or not that of an executor whose workers are there already.
    """
    has = _workers_of(executor)
    if cpu_count is not None:
        if isinstance(cpu_count, bool) or not isinstance(cpu_count, int) or cpu_count < 1:
            raise ConfigError(
                f"cpu_count={cpu_count!r}: must be an int of at least 1; None for all usable cores but one"
            )
        if has is not None and has != cpu_count and not isinstance(executor, (AnyExecutor, Cluster)):
            raise ConfigError(f"cpu_count={cpu_count!r}: {executor!r} has {has} workers; leave cpu_count out")
        return cpu_count
    if isinstance(executor, AnyExecutor) and has is not None:
        return 0
    return default_workers() if has is None else has


def _workers_of(executor: Kind) -> int | None:
    """How many workers a given executor has, where it says so."""
    if isinstance(executor, str):
        return None
    if isinstance(executor, Cluster):
        return 0
    if not isinstance(executor, AnyExecutor):
        return sum(lane.workers for lane in executor.lanes)
    return said_size(executor)


def wear(executor: Kind, max_worker_rss: int | None, max_worker_batches: int | None) -> Wear:
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
        if executor not in OWN_PROCESSES and not isinstance(executor, Cluster):
            raise ConfigError(
                f"{name}={limit!r}: only executor='processes', 'auto' and Dask have workers that can be replaced"
            )
    return Wear(max_batches=max_worker_batches, max_rss=max_worker_rss)


def make(executor: Kind, workers: int, wear: Wear = NO_WEAR, worker_timeout: float = WORKER_TIMEOUT) -> Executor:
    """An executor with so many workers; a given one as it is. `worker_timeout` is for those that are elsewhere."""
    keep_freed()  # records are freed here by the batch, wherever they are worked on
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
            return SharedExecutor(executor, workers or None, worker_timeout)
        case Cluster():
            from pipeframe_async.executors.dask.fleet import DaskLanes  # it loads Dask

            return DaskLanes(executor, workers or None, wear, worker_timeout)
        case str():
            raise ConfigError(f"executor={executor!r} is not known")
    return LentExecutor(executor)
