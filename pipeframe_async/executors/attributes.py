"""Where a log record of this very process comes from, on the record: for steps that run in threads, or on the loop.

While an executor that runs steps in this process is in use, the factory of log records is one that calls the one it
found and adds `pipeframe_step`, `pipeframe_position`, `pipeframe_worker` and `pipeframe_pipeline` to what a step logs.
Others' log records are as they were. It is taken away with the last such executor, unless somebody has put his own on
top of it; then it does nothing any more.

Process: the app's, in any thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from pipeframe_async._worker.whereabouts import whereabouts
from pipeframe_async.wire import Positions

_lock = threading.Lock()
_users = 0
_installed: Callable[..., logging.LogRecord] | None = None
_told = threading.local()


@contextmanager
def given(found: Mapping[str, Any]) -> Iterator[None]:
    """In this block what this thread logs has these attributes: a warning of a worker, where it is logged."""
    if not _users:
        enter()
        left = True
    else:
        left = False
    _told.found = found
    try:
        yield
    finally:
        _told.found = None
        if left:
            leave()


def enter() -> None:
    """An executor is in use."""
    global _users, _installed
    with _lock:
        _users += 1
        if _installed is None:
            _installed = _factory(logging.getLogRecordFactory())
            logging.setLogRecordFactory(_installed)


def leave() -> None:
    """It is not any more."""
    global _users, _installed
    with _lock:
        _users -= 1
        if not _users and logging.getLogRecordFactory() is _installed:
            before: Any = _installed
            logging.setLogRecordFactory(before.found)
            _installed = None


def _factory(found: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def factory(*args: Any, **named: Any) -> logging.LogRecord:
        record = found(*args, **named)
        if _users:
            _add(record)
        return record

    factory.found = found  # type: ignore[attr-defined]
    return factory


def _add(record: logging.LogRecord) -> None:
    if (told := getattr(_told, "found", None)) is not None:
        vars(record).update(told)
        return
    if (at := whereabouts(2)) is None:
        return
    vars(record).update(found_at(at.positions, at.at, at.step, at.worker, at.pipeline))


def found_at(
    positions: Positions | None, at: int | None, step: str | None, worker: str | None, pipeline: str | None
) -> dict[str, Any]:
    """The attributes of a line, by name."""
    position = None
    if positions is not None and at is not None:
        with suppress(IndexError):
            position = positions[at]
    return {
        "pipeframe_step": step,
        "pipeframe_position": position,
        "pipeframe_worker": worker,
        "pipeframe_pipeline": pipeline,
    }
