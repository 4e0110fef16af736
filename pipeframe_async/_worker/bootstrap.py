"""A worker process from its first instruction: signals, parent watch, cursor; then the pool's own loop.

Process: everything here runs in the worker; `executors/launch.py` is what starts one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import threading
from typing import Any

from pipeframe_async._worker import envelope
from pipeframe_async._worker.cursor import Cursor


def prepare() -> None:
    """What a new worker does first, before it hears from its pool."""
    _own_session()
    _reset_signals()
    _watch_parent()


class SharedMemory:
    """A file descriptor on its way to a child: pickled while the child is started, and only then."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (multiprocessing.reduction.DupFd(self.fd),)


def _received(duplicate: Any) -> SharedMemory:
    return SharedMemory(duplicate.detach())


def begin(memory: SharedMemory | None) -> None:
    """The pool's initializer: map the cursor the parent watches."""
    if memory is not None:
        envelope.attach_cursor(Cursor(memory.fd))
        os.close(memory.fd)


def ready() -> int:
    """The handshake: this worker's pid, once it can work."""
    return os.getpid()


def _own_session() -> None:
    """Leave the terminal's process group: Ctrl-C is the parent's to handle, and a group can be killed whole."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()


def _reset_signals() -> None:
    """Ignore SIGINT, let SIGTERM end us, and undo what a forking parent's event loop has left behind."""
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.enable()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), name="pipeframe-parent-watch", daemon=True).start()


def _follow(parent: Any) -> None:
    """Die with the parent, however it died. Pool workers hold each other's pipes open and would never notice."""
    parent.join()
    os._exit(1)
