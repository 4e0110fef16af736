"""What a worker leaves for its parent to read after its end: where its code stood, and the finished part of its batch.

Comes in: a signal of the parent's when a record takes too long, or a crash. Goes out: text in one file, a
pickled `LastWords` in another. Two layers: faulthandler writes the stack from C, so also while C code holds
the GIL; the Python handler runs only where the interpreter gets to it, writes more, and waits for the end.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import sys
import time
import traceback
from types import FrameType
from typing import NamedTuple

from pipeframe_async._worker import envelope
from pipeframe_async._worker.codec import PROTOCOL
from pipeframe_async._worker.cursor import SPOKEN, Cursor
from pipeframe_async.failures import OUR_ROOM
from pipeframe_async.wire import Reply

LAST_CALL = getattr(signal, "SIGUSR2", None)
"""The signal that says: the record you are at is out of time."""


class LastWords(NamedTuple):
    """Of a worker that was ended in the middle of a record: its batch, the stack there, what was finished before it."""

    batch: int
    stack: str
    done: Reply | None


def leave_traces(cursor: Cursor, stack: int, words: int) -> None:
    """Be ready for the end: `stack` and `words` are file descriptors the parent reads afterwards."""
    faulthandler.enable(stack, all_threads=False)
    if sys.platform == "win32" or LAST_CALL is None:
        return

    def last_words(number: int, frame: FrameType | None) -> None:
        if not cursor.sought:
            return  # the record was finished just now: nobody is out of time
        _write(words, LastWords(cursor.read().batch, _stack(frame), None))
        if (done := envelope.finished_part()) is not None:  # second: pickling may run into what it hangs in
            _write(words, LastWords(cursor.read().batch, _stack(frame), done))
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # it may be in the middle of writing there
                stream.flush()
        cursor.cells[SPOKEN] = 1
        while True:  # the parent ends us, with all that was started here: were we to go first, it would not find them
            time.sleep(1)

    signal.signal(LAST_CALL, last_words)
    faulthandler.register(LAST_CALL, stack, all_threads=False, chain=True)


def read_words(data: bytes, batch: int) -> LastWords | None:
    """The last words about this batch, or None where there are none that can be read."""
    length = int.from_bytes(data[:8], "little")
    if not length or len(data) < 8 + length:
        return None
    words = LastWords(*pickle.loads(data[8 : 8 + length]))  # noqa: S301 - of our own worker
    return words if words.batch == batch else None


def _write(fd: int, words: LastWords) -> None:
    """The length comes last: words that were cut short do not count."""
    if sys.platform == "win32":
        return  # where nobody calls for them
    data = pickle.dumps(tuple(words), PROTOCOL)
    os.pwrite(fd, bytes(8), 0)
    view, at = memoryview(data), 8
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
    os.pwrite(fd, len(data).to_bytes(8, "little"), 0)


def _stack(frame: FrameType | None) -> str:
    """The stack of the record's step, outermost call first, without the frames of this library."""
    entries = traceback.extract_stack(frame)
    ours = max((at for at, entry in enumerate(entries) if entry.filename.startswith(OUR_ROOM)), default=-1)
    return "Stack (most recent call last):\n" + "".join(traceback.format_list(entries[ours + 1 :]))
