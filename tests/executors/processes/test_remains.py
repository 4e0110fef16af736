"""What a worker leaves: how its process ended, in words, and what is in its files."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from pipeframe_async import unnamed
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async.executors.processes import remains as leaving
from pipeframe_async.executors.processes.remains import (
    STACK_LIMIT,
    UNKNOWN_CODE,
    Ending,
    Remains,
    TraceFiles,
    ending_by,
    ending_of,
    remains_of,
)
from pipeframe_async.wire import Phase, Spot

posix = pytest.mark.skipif(os.name != "posix", reason="files without a name")


@pytest.mark.parametrize(
    ("code", "text", "foreign"),
    [
        (None, "it did not say how it ended", False),
        (0, "it exited with code 0", False),
        (3, "it exited with code 3", False),
        (UNKNOWN_CODE, "it exited with code 255", False),
        (-signal.SIGSEGV, "it was killed by SIGSEGV", False),
        (-signal.SIGABRT, "it was killed by SIGABRT", False),
        (-signal.SIGTERM, "it was killed by SIGTERM", True),
        (-signal.SIGINT, "it was killed by SIGINT", True),
        pytest.param(-9, "it was killed by SIGKILL", True, marks=posix),
        (-1000, "it was killed by signal 1000", False),
    ],
)
def test_an_exit_code_in_words(code: int | None, text: str, foreign: bool) -> None:
    assert ending_by(code) == Ending(text, foreign)


def process(pid: int | None, code: int | None) -> Any:
    return SimpleNamespace(pid=pid, exitcode=code)


def test_a_process_that_was_never_there_says_nothing() -> None:
    assert ending_of(None) == ending_of(process(None, None)) == ending_by(None)


def test_a_process_that_is_gone_has_its_code() -> None:
    assert ending_of(process(os.getpid(), 3)) == ending_by(3)


@posix
@pytest.mark.parametrize("runs", [True, False])
def test_a_process_that_runs_on_after_its_end_has_lost_its_fork_server(
    runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "_runs", lambda pid: runs)
    server_killed = Ending("its fork server was killed", foreign=True)
    assert ending_of(process(5, UNKNOWN_CODE)) == (server_killed if runs else ending_by(UNKNOWN_CODE))


@posix
def test_whether_a_process_runs() -> None:
    assert leaving._runs(os.getpid())
    assert not leaving._runs(2**22 + 1)


@posix
def test_all_that_was_left_is_read() -> None:
    files = TraceFiles()
    cursor = Cursor(files.cursor)
    cursor.enter(7)
    cursor.phase(Phase.READING)
    cursor.seek(cursor.read())
    os.write(files.stack, "Stack \xe9".encode())
    os.write(files.words, b"last words")
    os.pwrite(files.log, b"last lines", 0)
    found = remains_of(Ending("it ended", foreign=True), cursor, files)
    cursor.close()
    files.close()
    assert found.log.rstrip(b"\0") == b"last lines"
    left = found._replace(log=b"")
    assert left == Remains(Spot(7, None, Phase.READING, None), True, "it ended", True, "Stack é", b"last words")


@posix
def test_of_a_long_stack_the_end_is_read() -> None:
    files = TraceFiles()
    os.write(files.stack, b"first" + b"x" * STACK_LIMIT + b"last")
    stack, words, _ = files.read()
    files.close()
    assert (len(stack), stack[-4:], b"first" in stack, words) == (STACK_LIMIT, b"last", False, b"")


@posix
def test_bytes_that_are_no_text_are_read_all_the_same() -> None:
    files, cursor = TraceFiles(), Cursor()
    os.write(files.stack, b"a\xff")
    found = remains_of(ending_by(0), cursor, files)
    cursor.close()
    files.close()
    assert found.stack == "a�"


def test_where_there_are_no_files_the_cursor_is_all() -> None:
    cursor = Cursor()
    found = remains_of(ending_by(0), cursor, None)
    cursor.close()
    assert (found.spot.phase, found.stack, found.words) == (Phase.IDLE, "", b"")


@posix
def test_files_that_cannot_all_be_made_leave_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made, before = list[int](), unnamed.make

    def scarce(name: str, nbytes: int) -> int:
        if len(made) == 2:
            raise OSError("no more descriptors")
        made.append(before(name, nbytes))
        return made[-1]

    monkeypatch.setattr(unnamed, "make", scarce)
    with pytest.raises(OSError, match="no more"):
        TraceFiles()
    for fd in made:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
