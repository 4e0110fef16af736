"""A worker process from its first instruction: signals, parent watch, cursor; then the pool's own loop.

Process: everything here runs in the worker; `executors/processes/launch.py` is what starts one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pipeframe_async._worker import envelope, forwarding, orphan, session
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async._worker.forwarding import Forwarding
from pipeframe_async._worker.lastlog import LastLog
from pipeframe_async._worker.postmortem import leave_traces
from pipeframe_async._worker.surroundings import Surroundings


def prepare(surroundings: Surroundings | None = None, streams: Sequence[int] = ()) -> None:
    """What a new worker does first, before it hears from its pool.

    Args:
        surroundings: its parent's, as they are now.
        streams: its parent's standard output and error, as they are now.
    """
    _take_over(streams)
    if surroundings is not None:
        surroundings.adopt()
    _own_session()
    _reset_signals()
    orphan.end_with_parent()


def _take_over(streams: Sequence[int]) -> None:
    """Write where the parent writes, line by line: what a step has printed is not lost with its worker."""
    for number, fd in enumerate(streams, start=1):
        if fd > 2:
            os.dup2(fd, number)
            os.close(fd)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None and streams:
            setattr(sys, name, open(number, "w", errors="backslashreplace", closefd=False))  # noqa: SIM115
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def keep_from_children(*queues: Any) -> None:
    """Have a process that a step forks close the pool's pipes: as long as it lived, this worker would not look dead."""
    if hasattr(os, "register_at_fork"):
        ends = [end for queue in queues for name in ("_reader", "_writer") if (end := getattr(queue, name, None))]
        os.register_at_fork(after_in_child=lambda: _close(ends))


def leave_soon() -> None:
    """From here on this process ends within seconds, with a word where something in it would not: it has no work."""
    threading.Thread(target=_leave, name="pipeframe-leave", daemon=True).start()


def end_pools() -> None:
    """Have what steps have registered with `threading`, as pools do, end as it does where a program exits.

    A child of multiprocessing waits for its own children before that, and a pool that waits for work has such.
    """
    registered: list[Callable[[], object]] = getattr(threading, "_threading_atexits", [])
    while registered:  # each once: the exit itself would call it again
        with contextlib.suppress(Exception):
            registered.pop()()


def _leave() -> None:
    time.sleep(LEAVE_SECONDS)
    staying = [thread.name for thread in threading.enumerate() if not thread.daemon and thread.name != "MainThread"]
    staying += [child.name for child in multiprocessing.active_children()]
    what = f"{', '.join(staying)} would not end" if staying else "something a step has started would not end"
    with contextlib.suppress(Exception):
        sys.stderr.write(f"pipeframe_async: worker {os.getpid()} was ended at its exit: {what}\n")
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _close(ends: list[Any]) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.close()


class SharedFile:
    """A file descriptor on its way to a child: pickled while the child is started, and only then."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        if sys.platform == "win32":
            raise NotImplementedError  # a worker there is given none
        return _received, (multiprocessing.reduction.DupFd(self.fd),)


def _received(duplicate: Any) -> SharedFile:
    return SharedFile(duplicate.detach())


class Traces(NamedTuple):
    """The files that outlive a worker: its cursor, the stack it died in, its last words, what it has logged last."""

    cursor: SharedFile
    stack: SharedFile
    words: SharedFile
    log: SharedFile


class Ends(NamedTuple):
    """The worker's part of the channel: a socket, regions that batches come in, and regions for replies."""

    socket: SharedFile
    inbound: tuple[SharedFile, ...]
    outbound: tuple[SharedFile, ...]


LEAVE_SECONDS = 2.0
"""What a worker that has no more work has to end by itself. Less cuts off what is written at exit, more delays the
run's end."""

_problem = ""


def begin(traces: Traces | None, ends: Ends | None) -> None:
    """The pool's initializer: map the cursor the parent watches, be ready to leave traces, and for the session."""
    global _problem
    try:
        cursor = Cursor(-1 if traces is None else traces.cursor.fd)
        envelope.attach_cursor(cursor)
        last = LastLog(-1 if traces is None else traces.log.fd)
        if traces is not None:
            os.close(traces.cursor.fd)
            os.close(traces.log.fd)
            leave_traces(cursor, traces.stack.fd, traces.words.fd)
        if ends is not None:
            forwarding.attach(logs := Forwarding(cursor, last))
            inbound, outbound = ([file.fd for file in files] for files in (ends.inbound, ends.outbound))
            session.attach(session.Session(ends.socket.fd, inbound, outbound, logs))
    except BaseException:  # told by `ready`: the pool itself would only say that it is broken
        _problem = traceback.format_exc()


def ready() -> tuple[int, str]:
    """The handshake: this worker's pid, and the traceback of what keeps it from working, if anything does."""
    return os.getpid(), _problem


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
    with contextlib.suppress(RuntimeError, AttributeError, OSError, ValueError):  # no standard error, or none of ours
        faulthandler.enable()
