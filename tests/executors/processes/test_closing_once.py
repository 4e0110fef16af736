"""Ends of pipes that two threads close at the same moment: once, and never what has the number by then."""

from __future__ import annotations

import gc
import os
import threading
from multiprocessing import Pipe

import pytest

from pipeframe_async.executors.processes.worker import _close_once


def test_two_threads_close_an_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = Pipe(duplex=False)
    closed: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def slowly(self: object, _close: object = None) -> None:
        closed.append(reader.fileno())
        entered.set()
        go_on.wait(10)
        os.close(closed[-1])

    monkeypatch.setattr(type(reader), "_close", slowly)
    _close_once(reader)
    threads = [threading.Thread(target=reader.close) for _ in range(2)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    threads[1].join(0.2)  # time in which it would close it too
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(closed) == 1
    assert reader.closed
    monkeypatch.undo()
    writer.close()


def test_one_that_nobody_closes_is_closed_when_nobody_has_it() -> None:
    reader, writer = Pipe(duplex=False)
    _close_once(writer)
    number = writer.fileno()
    gc.disable()
    try:
        del writer
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(number)
    finally:
        gc.enable()
    reader.close()
