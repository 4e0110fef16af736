"""The task that holds a thread of a Dask worker for one of our lanes, as long as the client wants it.

Process: a thread of the Dask worker. It is named in an expression that the Dask worker evaluates, see `probing.lease`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from distributed import get_worker

from pipeframe_async._rules.wear import Wear
from pipeframe_async.executors.dask.host import Host, host_of

LOOK_SECONDS = 0.1
"""How often it looks whether it is still wanted: the scheduler takes the task back when its client has gone. Longer
leaves work behind, shorter burns the thread."""
DRAIN_SECONDS = 20.0
"""What a lane has to finish its batches where the Dask worker is retired; that waits for about 30 s."""


def hold(key: str, max_batches: int | None, max_rss: int | None) -> str:
    """Have a lane there, and return when nobody wants it any more.

    Raises:
        WorkerLost, ConfigError: it cannot start here.
    """
    worker: Any = get_worker()
    task = worker.get_current_task()
    host = host_of(worker)

    def wanted() -> bool:
        state = worker.state.tasks.get(task)  # a look from another thread, at what may be gone in a moment
        return state is not None and state.state in ("executing", "long-running")

    opening = asyncio.run_coroutine_threadsafe(host.open(key, Wear(max_batches, max_rss)), host.loop)
    if _done(opening, lambda: wanted() and host.stays):
        leased = opening.result()
        while wanted() and host.stays and not leased.ended.wait(LOOK_SECONDS):
            pass
        if leased.ended.is_set():
            return "ended"
        if not host.stays:  # retired: what it has it may finish, as long as somebody waits for it
            _done(_leaving(host, key, kill=False), wanted)
    _done(_leaving(host, key, kill=True), lambda: True)
    return "ended"


def _done(future: Future[Any], wanted: Callable[[], bool]) -> bool:
    """Wait for it; False where it is not wanted any more before it is done, and then it is given up.

    Raises what it raised.
    """
    while wanted():
        try:
            future.result(LOOK_SECONDS)
        except TimeoutError:
            if future.done():
                raise
            continue
        return True
    return not future.cancel() and future.exception() is None


def _leaving(host: Host, key: str, *, kill: bool) -> Future[list[str]]:
    return asyncio.run_coroutine_threadsafe(host.leave(key, kill=kill, timeout=DRAIN_SECONDS), host.loop)
