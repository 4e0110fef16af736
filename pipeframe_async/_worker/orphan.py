"""How a worker ends when its parent is gone, together with all it has started.

In comes the parent's sentinel: the read end of a pipe whose other end only the parent has. Two layers watch
it: the kernel, where it can kill us without asking Python, and a thread, everywhere.

Process: everything here runs in the worker, once, before it hears from its pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from typing import Any, NoReturn


def end_with_parent() -> None:
    """From here on this process does not outlive its parent, however that ends; returns at once."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    _ask_the_kernel(parent.sentinel)
    if not parent.is_alive():
        _end()  # it went before the kernel was asked, which tells of changes only
    threading.Thread(target=_follow, args=(parent,), name="pipeframe-parent-watch", daemon=True).start()


def leads_a_group() -> bool:
    """Whether a process group is this worker's own: then all in it were started by this worker."""
    return sys.platform != "win32" and os.getpgrp() == os.getpid()


def _ask_the_kernel(sentinel: int) -> None:
    """Have SIGKILL sent to our group when the other end is closed: C code that holds the GIL cannot delay that.

    Nothing more is ever written to the pipe once a worker runs, so its end is the only change to tell of. The
    request belongs to the open file: it holds as long as somebody here, or a child of ours, has that open.
    """
    if sys.platform != "linux":
        return  # nobody else can be asked
    import fcntl

    try:
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, -os.getpgrp() if leads_a_group() else os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)  # SIGIO, the default, may be caught or ignored
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        pass  # a sandbox that emulates Linux without this: the thread is there


def _follow(parent: Any) -> None:
    """The layer that works on every system, as soon as Python code may run.

    On Linux it also keeps the sentinel's file open when a step closes every descriptor: it waits inside it.
    """
    parent.join()
    _end()


def _end() -> NoReturn:
    if sys.platform != "win32" and leads_a_group():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
