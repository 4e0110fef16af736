"""Pools that are started for ten records and stopped again: each as a context, within which records go through.

A module is imported when its contestant is asked for, so that a fresh interpreter pays for one of them only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from multiprocessing import get_context

from benchmarks.works.trivial import through

WORKERS = 2

Do = Callable[[Sequence[int]], list[int]]
Opened = Callable[[], AbstractContextManager[Do]]


@contextmanager
def executor(method: str) -> Iterator[Do]:
    """The standard library's."""
    futures = import_module("concurrent.futures")
    with futures.ProcessPoolExecutor(WORKERS, mp_context=get_context(method)) as workers:
        yield lambda records: list(workers.map(through, records))


@contextmanager
def mpire() -> Iterator[Do]:
    """Started as it is by default: by fork. Kept alive between calls."""
    with import_module("mpire").WorkerPool(n_jobs=WORKERS, keep_alive=True) as workers:
        yield lambda records: list(workers.map(through, records))


@contextmanager
def loky() -> Iterator[Do]:
    """Not the reusable one, which is never stopped."""
    with import_module("loky").ProcessPoolExecutor(WORKERS) as workers:
        yield lambda records: list(workers.map(through, records))


@contextmanager
def joblib() -> Iterator[Do]:
    """Its workers outlive a call; they are ended when the context is left."""
    library = import_module("joblib")
    try:
        with library.Parallel(n_jobs=WORKERS) as parallel:
            yield lambda records: list(parallel(library.delayed(through)(record) for record in records))
    finally:
        import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)


OPENED: dict[str, tuple[str, Opened]] = {
    "executor_fork": ("concurrent.futures.process", partial(executor, "fork")),
    "executor_forkserver": ("concurrent.futures.process", partial(executor, "forkserver")),
    "executor_spawn": ("concurrent.futures.process", partial(executor, "spawn")),
    "mpire": ("mpire", mpire),
    "loky": ("loky", loky),
    "joblib": ("joblib", joblib),
}
"""By key, with what is imported first."""


class Pool:
    """A pool: started and stopped, or kept warm."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def whole(self, records: Sequence[int]) -> tuple[float, int]:
        """Start, work, stop: seconds, and the sum of the results."""
        started = time.perf_counter()
        with self._opened() as do:
            checksum = sum(do(records))
        return time.perf_counter() - started, checksum

    def warm(self, records: Sequence[int], times: int) -> list[float]:
        """Seconds of each call, once the workers are there."""
        spent = []
        with self._opened() as do:
            do(records)
            for _ in range(times):
                started = time.perf_counter()
                do(records)
                spent.append(time.perf_counter() - started)
        return spent
