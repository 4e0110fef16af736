"""The app's end of the fork server: when one is started, and how; programs that are no Python stand in for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import spawn, util
from typing import Any

import pytest

from pipeframe_async import ConfigError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="fork servers are POSIX's")
if os.name == "posix":
    from pipeframe_async._worker.server import HELLO
    from pipeframe_async._worker.surroundings import MARK
    from pipeframe_async.executors.processes import forkserver
    from pipeframe_async.executors.processes.forkserver import ForkServer


@pytest.fixture
def server() -> Iterator[ForkServer]:
    made = ForkServer([])
    yield made
    made.forget()
    if made._forkserver_pid is not None:
        with suppress(ChildProcessError):
            os.waitpid(made._forkserver_pid, 0)


def test_it_starts_once_and_again_where_it_has_ended(server: ForkServer) -> None:
    server.ready()
    first = server._forkserver_pid
    server.ready()
    assert server._forkserver_pid == first is not None
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    server.ready()
    assert server._forkserver_pid != first


def test_it_leads_a_session_of_its_own(server: ForkServer) -> None:
    server.ready()
    assert server._forkserver_pid is not None
    assert os.getsid(server._forkserver_pid) == server._forkserver_pid


def test_it_ends_when_the_app_lets_go_of_it(server: ForkServer) -> None:
    server.ready()
    server.forget()
    assert server._forkserver_pid is not None
    _, status = os.waitpid(server._forkserver_pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_an_app_that_has_become_somebody_else_gets_another_one(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ready()
    first = server._forkserver_pid
    monkeypatch.setattr(forkserver, "_identity", lambda: ("nobody",))
    server.ready()
    assert server._forkserver_pid != first
    assert first is not None
    with suppress(ChildProcessError):  # it was reaped as the other one was started
        assert os.waitpid(first, 0)[0] == first


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false"])
def test_a_program_that_is_no_python_is_refused_by_name(
    server: ForkServer, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "get_executable", lambda: program)
    with pytest.raises(ConfigError, match=f"sys.executable='{program}' does not run Python"):
        server.ready()
    assert server._control is None


def test_without_a_server_nothing_is_forked(server: ForkServer) -> None:
    with pytest.raises(ConnectionError):
        server.fork(0, 0, [])


def test_one_that_is_gone_is_an_error_and_no_signal(server: ForkServer) -> None:
    server._control, theirs = socket.socketpair()
    theirs.close()
    old = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        with pytest.raises(OSError, match="pipe"):
            server.fork(0, 1, [2])
    finally:
        signal.signal(signal.SIGPIPE, old)


def test_it_and_the_tracker_look_for_nothing_in_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    given: Any = util._args_from_interpreter_flags  # type: ignore[attr-defined]
    assert "-P" in forkserver.flags()
    with forkserver.run_safely():
        assert "-P" in util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    assert util._args_from_interpreter_flags is given  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert forkserver.flags() == given()  # those that a freezer's program looks for, and no others


def test_it_is_started_with_a_mark_and_with_signals_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Started:
        pid = 5
        returncode = None

    def popen(command: list[str], **how: Any) -> Started:
        seen.update(how, mask=signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return Started()

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert forkserver._started(["python"], 7) == 5
    assert seen["pass_fds"] == [7]
    assert seen["start_new_session"]
    assert seen["env"][MARK] == str(os.getpid())
    assert signal.SIGINT in seen["mask"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert len(HELLO) == 1
