"""The worker processes that this process has started and not yet seen end.

They are ended when it exits with some of them at work, and a process forked off it lets go of them: it would
keep open the pipes by whose end they learn that their parent is gone, and end them with its own exit.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from multiprocessing import process as processes
from multiprocessing import util
from multiprocessing.process import BaseProcess
from typing import Any

from pipeframe_async.executors.processes.reap import kill_family
from pipeframe_async.exiting import call_at_exit

starting = threading.RLock()
"""Held while descriptors for a worker are made and noted: nobody forks in between and takes one along unnoticed.

Taken by the lanes' threads, and around each fork of this process by whichever thread forks, which may be the one that
holds it. The child has it held by its one thread, and releases it."""

_living: weakref.WeakKeyDictionary[Any, tuple[int, ...]] = weakref.WeakKeyDictionary()


def hold(popen: Any, *fds: int) -> None:
    """Note a worker that is being started, and what is closed when it has been put away.

    Args:
        popen: multiprocessing's record of it.
        fds: descriptors by which it knows that we are alive, and we that it is.
    """
    popen.finalizer = util.Finalize(popen, _close, fds)
    _living[popen] = fds
    call_at_exit(end_all)


def replace(popen: Any, old: int, new: int) -> None:
    """One of a worker's descriptors is another one now; closes the old one."""
    fds = tuple(new if fd == old else fd for fd in _living[popen])
    popen.finalizer.cancel()
    hold(popen, *fds)
    _close(old)


def forget() -> None:
    """In a forked child: they are the parent's workers, not ours. Closes what the child has of them."""
    for popen, fds in list(_living.items()):
        popen.finalizer.cancel()
        _close(*fds)
    _living.clear()
    children: set[BaseProcess] = processes._children  # type: ignore[attr-defined]
    children -= {child for child in children if getattr(child, "forgotten_in_forks", False)}


def end_all() -> None:
    """Kill the workers there are, with all they have started."""
    for popen in list(_living):  # lanes' threads may still add to it, or take from it
        with suppress(OSError):  # it ends by itself just now
            if getattr(popen, "pid", None) is not None and popen.poll() is None:
                kill_family(popen.pid) if os.name == "posix" else popen.terminate()


def _close(*fds: int) -> None:
    for fd in fds:
        with suppress(OSError):
            os.close(fd)
