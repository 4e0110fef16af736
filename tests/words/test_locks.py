"""Locks between processes: who has one, and who has it after that."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from pipeframe_async.locks import Lock
from pipeframe_async.sinks import JsonLines

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has neither fork nor such locks")


def test_it_is_one_holder_s_and_then_the_next_one_s(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = Lock(str(path)), Lock(str(path))
    assert (first.mine, second.mine) == (True, False)
    second.release()
    assert path.exists()
    first.release()
    assert not path.exists()
    third = Lock(str(path))
    assert third.mine
    third.release()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of threads that tests before this have left
def test_a_child_that_was_forked_does_not_hold_what_its_parent_had(tmp_path: Path) -> None:
    """As those of a `Pool` live on when their parent was killed."""
    said, saying = os.pipe()
    waits, ending = os.pipe()
    parent = os.fork()
    if not parent:
        os.close(ending)
        held = Lock(str(tmp_path / "lock")), JsonLines(tmp_path / "out.jsonl", append=True)
        held[1].__enter__()
        if not os.fork():
            os.write(saying, b"x")
            os.read(waits, 1)
            os._exit(0)
        os.read(waits, 1)
        os._exit(1)
    os.close(saying)
    os.close(waits)
    try:
        assert os.read(said, 1) == b"x"
        other = Lock(str(tmp_path / "lock"))
        assert not other.mine
        other.release()
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        lock = Lock(str(tmp_path / "lock"))
        assert lock.mine
        lock.release()
        sink = JsonLines(tmp_path / "out.jsonl", append=True)
        sink.__enter__()
        sink.__exit__(None, None, None)
    finally:
        os.close(ending)
        os.close(said)
