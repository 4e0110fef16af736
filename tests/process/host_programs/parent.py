"""A process with one worker: `parent.py METHOD DOING ENDING`. Without an ENDING it waits to be ended."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
from pathlib import Path
from typing import Any

from pipeframe_async.executors.processes.launch import LaneContext
from tests.process.host_programs import doing

PLAIN = ("thread_alone", "too_late")
"""Doings that prepare their worker by themselves."""


def main(method: str, what: str, ending: str = "") -> None:
    receiver, sender = multiprocessing.Pipe(False)
    context: Any = multiprocessing.get_context(method) if what in PLAIN else LaneContext(method)
    context.Process(target=getattr(doing, what), args=(sender,)).start()
    receiver.recv_bytes()
    Path("ready").touch()
    if ending == "segfault":
        ctypes.string_at(0)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
