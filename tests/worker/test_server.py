"""What the fork server does when it starts, and what it answers; forked off a socket pair, as it is off the app's."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.forkserver import read_signed
from typing import Any

import pytest

from pipeframe_async._worker import server

pytestmark = pytest.mark.skipif(not hasattr(os, "setsid"), reason="process groups are POSIX's")

MODULE = "pipeframe_async._worker.server"
LEAVE = f"from {MODULE} import _leave_the_group; _leave_the_group()"
TELL = "print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())"


def told_by(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return run.stdout.strip()


def test_a_process_that_is_to_serve_leaves_the_group_it_was_started_in() -> None:
    assert told_by(f"import os; {TELL}") == "False False"
    assert told_by(f"import os; {LEAVE}; {TELL}") == "True True"


def test_one_that_leads_a_group_already_is_left_in_peace() -> None:
    assert told_by(f"import os; os.setsid(); {LEAVE}; {TELL}") == "True True"


def test_it_brings_nothing_of_the_apps_along() -> None:
    assert told_by(f"import sys, {MODULE}; print('asyncio' in sys.modules, 'cloudpickle' in sys.modules)") == (
        "False False"
    )


def test_what_was_blocked_for_it_is_let_through_once_it_is_ready() -> None:
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGINT}); "
    tell = "print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    assert told_by(f"{block}{LEAVE}; {tell}") == "set() True"


@pytest.fixture
def asked() -> Iterator[tuple[socket.socket, Any]]:
    """A server that does not run, and the socket it is asked over."""
    app, its = socket.socketpair()
    serving = server._Server(its)
    yield app, serving
    app.close()
    its.close()
    os.close(serving._ended)
    os.close(serving._ends)


class NoSelector:
    """Of a server that forks nothing."""


def ask(app: socket.socket, count: int, *fds: int) -> None:
    socket.send_fds(app, [bytes([count])], [*fds])


def test_a_fork_that_is_refused_costs_that_start_only(
    asked: tuple[socket.socket, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    app, serving = asked
    told, teller = os.pipe()
    ask(app, 3, teller, teller, teller)
    os.close(teller)
    assert serving._asked(NoSelector())
    assert read_signed(told) == -errno.EAGAIN
    assert os.read(told, 1) == b""  # and nobody has the other end any more
    os.close(told)


def test_one_whose_descriptors_did_not_all_come_is_refused(asked: tuple[socket.socket, Any]) -> None:
    app, serving = asked
    told, teller = os.pipe()
    ask(app, 5, teller, teller)
    os.close(teller)
    assert serving._asked(NoSelector())
    assert read_signed(told) == -errno.EMFILE
    os.close(told)


def test_it_is_over_when_the_app_hangs_up(asked: tuple[socket.socket, Any]) -> None:
    app, serving = asked
    app.close()
    assert not serving._asked(NoSelector())


def test_an_end_is_told_to_who_asked_for_the_worker(asked: tuple[socket.socket, Any]) -> None:
    _, serving = asked
    told, teller = os.pipe()
    child = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(7)"])
    serving._workers[child.pid] = teller
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    serving._bury()
    child.returncode = 7  # it was reaped by the server
    assert read_signed(told) == 7
    assert serving._workers == {}
    os.close(told)
