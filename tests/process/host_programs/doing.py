"""What a worker may be at when its parent goes, each of which says so on its pipe first; and steps with children."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from pipeframe_async._worker import bootstrap, orphan
from tests.process import pipelines

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    Ready = Connection[Any, Any]


def idle(ready: Ready) -> None:
    ready.send_bytes(b"idle")
    time.sleep(600)


def python(ready: Ready) -> None:
    ready.send_bytes(b"busy")
    while True:
        pass


def c_code(ready: Ready) -> None:
    """Holds the GIL for longer than anybody waits: no thread of this process runs any more."""
    endless = re.compile(r"(a+)+$")
    ready.send_bytes(b"busy")
    endless.match("a" * 64 + "b")


def family(ready: Ready) -> None:
    """Has children: a program that ignores what may be ignored, and a fork with a fork of its own."""
    ignoring = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (15, 2, 1, 29)]; time.sleep(600)"
    subprocess.Popen([sys.executable, "-S", "-c", ignoring])
    if os.fork() == 0:
        os.fork()
        time.sleep(600)
    c_code(ready)


def closes_everything(ready: Ready) -> None:
    """Closes all descriptors, the one that is watched among them."""
    ready.send_bytes(b"closing")
    time.sleep(0.2)  # the thread that keeps the file open has to wait inside it by then
    os.closerange(0, 256)
    re.match(r"(a+)+$", "a" * 64 + "b")


def thread_alone(ready: Ready) -> None:
    """A system whose kernel cannot be asked."""
    bootstrap._own_session()
    orphan._ask_the_kernel = lambda sentinel: None
    orphan.end_with_parent()
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    python(ready)


def too_late(ready: Ready) -> None:
    """The parent goes before the kernel is asked, and no thread is there."""
    ready.send_bytes(b"waiting")
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    threading.Thread.start = lambda self: None  # type: ignore[method-assign]
    orphan.end_with_parent()
    time.sleep(600)


def catches_what_it_can(ready: Ready) -> None:
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    c_code(ready)


def has_children(record: int) -> tuple[str, bool]:
    """A worker is no daemon, and its steps may start processes."""
    child = multiprocessing.get_context("fork").Process(target=abs, args=(record,))
    child.start()
    child.join()
    return f"daemon={multiprocessing.current_process().daemon} child={child.exitcode}", True


class Nested(pipelines.Collected):
    steps = (has_children,)

    def __init__(self) -> None:
        super().__init__(4)
