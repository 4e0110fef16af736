"""A worker without its pool, for tests of what one leaves behind: `python -m tests.worker.ending CASE STACK WORDS`.

It runs one batch; at the record `LAST` it is called to its end, or it comes to one by itself.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from typing import Any

from pipeframe_async._worker import codec, envelope, postmortem
from pipeframe_async._worker.cursor import SPOKEN, Cursor
from pipeframe_async.wire import ChainSpec

BATCH, RECORDS, LAST = 77, 6, 3

cursor = Cursor()


class HangsWhenPickled:
    def __reduce__(self) -> Any:
        time.sleep(600)
        raise AssertionError


class DoneFor(Exception):
    """Told on standard output by whoever outlives its last call."""


def ends_who_has_spoken() -> None:
    """The other thing the parent does."""
    while not cursor.cells[SPOKEN]:
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


def call_last(number: int) -> None:
    """What the parent does when a record is out of time."""
    assert postmortem.LAST_CALL is not None
    if case != "spared":
        cursor.seek(cursor.read())
        threading.Thread(target=ends_who_has_spoken, daemon=True).start()
    os.kill(os.getpid(), postmortem.LAST_CALL)
    print("lives on at", number, flush=True)


def crash(number: int) -> None:
    faulthandler._sigsegv()  # type: ignore[attr-defined]


def step(number: int) -> Any:
    if number == LAST:
        (crash if case == "crash" else call_last)(number)
    if case == "result without a pickle" and number == 1:
        return (lambda: number), True
    if case == "result that hangs" and number == 1:
        return HangsWhenPickled(), True
    return 10 * number, True


if __name__ == "__main__":
    case, stack, words = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    signal.alarm(30)
    envelope.attach_cursor(cursor)
    postmortem.leave_traces(cursor, stack, words)
    envelope.install("chain", ChainSpec(("step",), (step,), None, 1.0))
    reply = envelope.work("chain", None, BATCH, codec.dumps(list(range(RECORDS))), case != "nothing wanted")
    print(reply.delivered, flush=True)
