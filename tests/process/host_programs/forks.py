"""A process that forks after it has started a frame: `forks.py HOW`, HOW one of the functions below."""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from pipeframe_async import PipeFrame, StateError
from tests.process import pipelines as p

warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)  # which it is, and forks all the same


def in_child() -> None:
    """What the child finds: the frame it inherited is refused, a new one works."""
    with asyncio.Runner() as runner:
        try:
            runner.run(frame.run(p.Numbers))
        except StateError as refused:
            print("refused:", refused)
        print("new frame:", runner.run(PipeFrame(1).run(p.Numbers(50))).delivered, flush=True)


def forked(child: Callable[[], None]) -> int:
    """Fork; returns the child's pid in the parent. The child leaves through all that runs at an interpreter's exit.

    All but the destruction of globals: an inherited asyncio loop takes its descriptors out of the epoll that it
    shares with the parent's when it is destroyed, and then nobody can wake the parent's any more.
    """
    if (pid := os.fork()) == 0:
        child()
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        os._exit(0)
    return pid


def os_fork() -> None:
    print("child:", os.waitpid(forked(in_child), 0)[1])


def os_fork_that_does_nothing() -> None:
    print("child:", os.waitpid(forked(lambda: None), 0)[1])


def os_fork_that_leaves_the_frame() -> None:
    """The child runs through the end of the block that the parent opened."""

    def leave() -> None:
        with asyncio.Runner() as runner:
            runner.run(frame.__aexit__(None, None, None))

    print("child:", os.waitpid(forked(leave), 0)[1])


def multiprocessing_fork() -> None:
    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join()
    print("child:", child.exitcode)


def child_that_stays() -> None:
    """The child lives on, in a loop of its own, after the parent has been killed."""
    pid = forked(lambda: time.sleep(600))
    Path("child.new").write_text(str(pid))
    os.rename("child.new", "child")
    loop.run_until_complete(frame.run(p.Hanging))


if __name__ == "__main__":
    how = globals()[sys.argv[1]]
    loop = asyncio.new_event_loop()
    frame = PipeFrame(2, name="the frame")
    loop.run_until_complete(frame.__aenter__())
    print("before:", loop.run_until_complete(frame.run(p.Numbers(100))).delivered, flush=True)
    how()
    report = loop.run_until_complete(frame.run(p.Numbers(200)))
    print("after:", report.delivered, "restarts:", report.worker_restarts)
    loop.run_until_complete(frame.__aexit__(None, None, None))
    loop.close()
