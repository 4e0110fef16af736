"""A worker's first instructions, in this very process: what it takes over, what it tells, what it lets go of."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeframe_async._worker import bootstrap, envelope, forwarding, lastlog, orphan, session
from pipeframe_async._worker.bootstrap import Ends, SharedFile, Traces
from pipeframe_async._worker.cursor import NBYTES, Cursor
from pipeframe_async.testing.procfs import is_open

posix = pytest.mark.skipif(os.name != "posix", reason="descriptors are handed over")


@pytest.fixture(autouse=True)
def a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker keeps for good is put back when the test is over."""
    monkeypatch.setattr(envelope, "_cursor", None)
    monkeypatch.setattr(session, "_session", None)
    monkeypatch.setattr(bootstrap, "_problem", "")
    monkeypatch.setattr(bootstrap, "leave_traces", lambda *traces: None)


@pytest.fixture
def files() -> Iterator[Callable[[], int]]:
    """Makes files of the size of a cursor; what is still open at the end is closed."""
    made: list[int] = []

    def make() -> int:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        os.truncate(fd, NBYTES)
        made.append(fd)
        return fd

    yield make
    for fd in made:
        if is_open(fd):
            os.close(fd)


def test_a_worker_says_who_it_is_and_that_nothing_is_wrong() -> None:
    bootstrap.begin(None, None)
    assert bootstrap.ready() == (os.getpid(), "")
    assert isinstance(envelope._cursor, Cursor)
    assert session._session is None


@posix
def test_its_place_can_be_read_from_the_file_it_was_given(
    files: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Any] = []
    monkeypatch.setattr(bootstrap, "leave_traces", lambda *traces: left.append(traces))
    cursor, stack, words, log = (files() for _ in range(4))
    os.truncate(log, lastlog.NBYTES)
    parents = Cursor(cursor)
    bootstrap.begin(Traces(SharedFile(cursor), SharedFile(stack), SharedFile(words), SharedFile(log)), None)
    assert envelope._cursor is not None
    envelope._cursor.enter(7)
    assert parents.read().batch == 7
    assert left == [(envelope._cursor, stack, words)]
    assert not is_open(cursor)  # the maps are enough
    assert not is_open(log)
    envelope._cursor.close()
    parents.close()


@posix
def test_it_has_a_session_where_it_is_given_the_ends_of_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    attached: list[Any] = []
    monkeypatch.setattr(session, "Session", lambda *ends: ends)
    monkeypatch.setattr(forwarding, "attach", attached.append)
    bootstrap.begin(None, Ends(SharedFile(5), (SharedFile(6), SharedFile(7)), (SharedFile(8),)))
    made: Any = session._session
    assert made == (5, [6, 7], [8], *attached)


def test_what_keeps_it_from_working_is_told_and_not_raised() -> None:
    """An initializer that raises breaks the pool, which says no more than that."""
    bootstrap.begin(Traces(SharedFile(-5), SharedFile(-5), SharedFile(-5), SharedFile(-5)), None)
    pid, problem = bootstrap.ready()
    assert pid == os.getpid()
    assert problem.startswith("Traceback")
    assert "Error" in problem


def test_what_a_process_forked_in_a_step_has_of_the_pool_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Callable[[], None]] = []
    closed: list[str] = []

    def end(name: str, error: OSError | None = None) -> Any:
        def close() -> None:
            closed.append(name)
            if error is not None:
                raise error

        return SimpleNamespace(close=close)

    monkeypatch.setattr(os, "register_at_fork", lambda *, after_in_child: registered.append(after_in_child))
    calls = SimpleNamespace(_reader=end("calls", OSError("closed already")), _writer=None)
    results = SimpleNamespace(_writer=end("results"))
    bootstrap.keep_from_children(calls, results)
    assert closed == []  # the worker itself needs them
    (in_child,) = registered
    in_child()
    assert closed == ["calls", "results"]


def test_a_worker_prepares_itself_before_it_hears_of_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(os, "setsid", lambda: done.append("own session"), raising=False)
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda fd: done.append(("wakeup", fd)))
    monkeypatch.setattr(signal, "signal", lambda *which: done.append(which))
    monkeypatch.setattr(faulthandler, "enable", lambda: done.append("faulthandler"))
    monkeypatch.setattr(orphan, "end_with_parent", lambda: done.append("end with parent"))
    bootstrap.prepare()
    assert done == [
        "own session",
        ("wakeup", -1),
        (signal.SIGINT, signal.SIG_IGN),
        (signal.SIGTERM, signal.SIG_DFL),
        "faulthandler",
        "end with parent",
    ]


def test_one_that_leads_a_session_already_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def leads_one() -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setsid", leads_one, raising=False)
    bootstrap._own_session()


@posix
def test_a_file_on_its_way_to_a_child_is_a_descriptor_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "reduction", SimpleNamespace(DupFd=lambda fd: f"dup of {fd}"))
    make, (duplicate,) = SharedFile(5).__reduce__()
    assert duplicate == "dup of 5"
    received = make(SimpleNamespace(detach=lambda: 9))
    assert (type(received), received.fd) == (SharedFile, 9)


def test_a_worker_writes_where_its_parent_writes_now_and_line_by_line(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pipeframe_async._worker import bootstrap; "
        f"out = os.open({str(tmp_path / 'out')!r}, os.O_CREAT | os.O_WRONLY); "
        "bootstrap._take_over([out, 2]); print('said'); os._exit(0)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=True)
    assert run.stdout == b""
    assert (tmp_path / "out").read_text() == "said\n"  # it left without a flush


@pytest.mark.parametrize("error", [RuntimeError("unable to get sys.stderr"), OSError(9, "Bad file descriptor")])
def test_no_standard_error_is_no_reason_not_to_start(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(os, "setsid", lambda: None, raising=False)
    monkeypatch.setattr(signal, "signal", lambda *which: None)
    monkeypatch.setattr(faulthandler, "enable", refuse)
    monkeypatch.setattr(orphan, "end_with_parent", lambda: None)
    bootstrap.prepare()


def test_a_worker_with_no_more_work_ends_within_seconds_and_says_what_would_not() -> None:
    program = (
        "import threading, time; from pipeframe_async._worker import bootstrap; bootstrap.LEAVE_SECONDS = 0.1; "
        "threading.Thread(target=time.sleep, args=(60,), name='exporter').start(); bootstrap.leave_soon()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert run.stderr.endswith("was ended at its exit: exporter would not end\n")


def test_one_that_ends_by_itself_says_nothing() -> None:
    program = "from pipeframe_async._worker import bootstrap; bootstrap.leave_soon(); raise SystemExit(3)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stderr) == (3, "")


def test_what_is_registered_with_threading_is_called_once_last_first_and_may_raise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []

    def broken() -> None:
        called.append("broken")
        raise OSError("gone")

    registered = [lambda: called.append("pool"), broken, lambda: called.append("own")]
    monkeypatch.setattr(threading, "_threading_atexits", registered, raising=False)
    bootstrap.end_pools()
    bootstrap.end_pools()
    assert called == ["own", "broken", "pool"]
