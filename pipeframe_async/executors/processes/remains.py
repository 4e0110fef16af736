"""What a worker leaves behind: the files its traces are in, how its process ended, and both together as a value.

Comes in: descriptors, and a process that has ended or is about to be. Goes out: `Remains`. What they mean for a batch
is the autopsy's; here nothing is ended.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from pipeframe_async import unnamed
from pipeframe_async._worker import lastlog
from pipeframe_async._worker.bootstrap import SharedFile, Traces
from pipeframe_async._worker.cursor import NBYTES, Cursor
from pipeframe_async.wire import Spot

STACK_LIMIT = 32 * 1024
"""Bytes that are read of a dead worker's last stack; faulthandler writes at most a hundred frames."""

FOREIGN_SIGNALS = frozenset(getattr(signal, name, None) for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"))
"""Signals that others send: the OOM killer, an operator, a container that is stopped."""

UNKNOWN_CODE = 255
"""The exit code of a worker whose fork server was killed; the worker itself lives on, until it is ended for that."""


class Ending(NamedTuple):
    """How a process ended, in words; `foreign`: somebody else may have ended it."""

    text: str
    foreign: bool


class Remains(NamedTuple):
    """What is known of a worker after its end.

    Attributes:
        spot: where its cursor stood.
        sought: whether that is where its parent wanted it ended.
        ending: how it ended, in words.
        foreign: whether somebody else may have ended it.
        stack: where its code stood, as faulthandler wrote it.
        words: its last words, still packed.
        log: what it has logged last, still packed.
    """

    spot: Spot
    sought: bool
    ending: str
    foreign: bool
    stack: str
    words: bytes
    log: bytes = b""


class TraceFiles:
    """The files of `bootstrap.Traces`, as descriptors; they have no names and end with the last of those."""

    def __init__(self) -> None:
        made: list[int] = []
        try:
            for name in Traces._fields:
                made.append(unnamed.make(f"pipeframe-{name}", lastlog.NBYTES if name == "log" else NBYTES))
        except OSError:
            for fd in made:
                os.close(fd)
            raise
        self.cursor, self.stack, self.words, self.log = made
        os.truncate(self.cursor, NBYTES)
        os.truncate(self.log, lastlog.NBYTES)

    def shared(self) -> Traces:
        """The worker's copies, to be pickled while it is started."""
        return Traces(*(SharedFile(fd) for fd in (self.cursor, self.stack, self.words, self.log)))

    def read(self) -> tuple[bytes, bytes, bytes]:
        """The end of the stack, the last words, and the last log lines."""
        if sys.platform == "win32":
            return b"", b"", b""  # it has no such files
        end = os.fstat(self.stack).st_size
        stack = os.pread(self.stack, STACK_LIMIT, max(0, end - STACK_LIMIT))
        words = os.pread(self.words, os.fstat(self.words).st_size, 0)
        return stack, words, os.pread(self.log, lastlog.NBYTES, 0)

    def given(self) -> None:
        """The worker has them. The cursor's is needed no more, for it is mapped."""
        os.close(self.cursor)
        self.cursor = -1

    def close(self) -> None:
        """Close them here; the worker has descriptors of its own."""
        for fd in (self.cursor, self.stack, self.words, self.log):
            if fd >= 0:
                os.close(fd)


def remains_of(ending: Ending, cursor: Cursor, files: TraceFiles | None) -> Remains:
    """All that is known of a worker; its process has ended, so that none of it changes any more."""
    stack, words, log = files.read() if files else (b"", b"", b"")
    shown = stack.decode(errors="replace")
    return Remains(cursor.read(), cursor.sought, ending.text, ending.foreign, shown, words, log)


def ending_of(process: BaseProcess | None) -> Ending:
    """How a worker's process ended, asked before what it has left behind is killed; None where none was started."""
    if process is None or process.pid is None:
        return ending_by(None)
    if process.exitcode == UNKNOWN_CODE and _runs(process.pid):
        return Ending("its fork server was killed", foreign=True)
    return ending_by(process.exitcode)


def ending_by(code: int | None) -> Ending:
    """What an exit code says; negative where it is that of a signal."""
    if code is None:
        return Ending("it did not say how it ended", foreign=False)
    if code >= 0:
        return Ending(f"it exited with code {code}", foreign=False)
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
    return Ending(f"it was killed by {name}", foreign=-code in FOREIGN_SIGNALS)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
