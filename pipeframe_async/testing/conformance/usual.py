"""The executors of the table in the docs."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Final

from pipeframe_async.executors.choose import NAMES
from pipeframe_async.testing.conformance.clusters import DASK
from pipeframe_async.testing.conformance.rig import Make

WORKERS: Final = 2


def standard_pool() -> Executor:
    """The pool of the standard library, of processes that are not forks of a program with threads."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context(method))


def loky_pool() -> Executor:
    """The pool of loky, which has to be installed."""
    try:
        from loky import ProcessPoolExecutor as LokyPool
    except ImportError as error:
        raise ImportError("loky is not installed: pip install loky") from error
    executor: Executor = LokyPool(WORKERS)
    return executor


USUAL: Final[dict[str, Make]] = {
    **{name: name for name in NAMES if name != "auto"},  # that is one of the others, at any time
    DASK: DASK,
    "loky": loky_pool,
    "ProcessPoolExecutor": standard_pool,
}
"""By the heads of their columns."""
