"""The app's end of its fork server: starts it when the first worker is wanted, and has it fork.

Comes in: the descriptors of a worker that is to be. Goes out: nothing; what becomes of it is told to one of those. The
server is `_worker/server.py`. Nothing it runs is of the working directory, and it needs no directory.

Process: lives in the parent, in the lanes' threads; one at a time has the server started, or asks it.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker, spawn, util
from typing import Any

from pipeframe_async._worker.channel import NO_SIGNAL
from pipeframe_async._worker.server import HELLO
from pipeframe_async._worker.surroundings import MARK, search_path
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors import hosts
from pipeframe_async.executors.processes import living

assert sys.platform != "win32", "there is no fork on Windows: workers are spawned"

HELLO_SECONDS = 60.0
"""A server that has not said hello by then is given up. It takes 0.05; shorter fails on a machine that swaps."""

_COMMAND = (
    "from multiprocessing.forkserver import main; "  # the programs that freezers make know it by these words
    "import sys; sys.path[:] = {path!r}; "  # the app's, which may be all that has our package
    "from pipeframe_async._worker.server import forkserver; forkserver({control}, {preload!r})"
)


class ForkServer:
    """One server; started with the first worker, and again where it has ended.

    Args:
        preload: modules it imports before it forks.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = [*preload]
        self._starting = threading.Lock()
        self._control: socket.socket | None = None
        self._forkserver_pid: int | None = None
        self._identity: tuple[object, ...] = ()

    def ready(self) -> None:
        """Make sure that there is a server, and multiprocessing's tracker of resources.

        Raises:
            ConfigError: this program cannot be started again as Python.
            OSError: no more processes or descriptors.
        """
        with self._starting:
            if not self._serves():
                self._start()
            with run_safely():
                resource_tracker.ensure_running()

    def fork(self, teller: int, pipe: int, fds: Sequence[int]) -> None:
        """Ask for a worker; called while `living.starting` is held.

        Raises:
            OSError: the server is gone.
        """
        tracker = resource_tracker.getfd()
        if self._control is None or tracker is None:
            raise ConnectionError("there is no fork server")
        asked = array.array("i", [teller, pipe, tracker, *fds])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, asked)]
        self._control.sendmsg([bytes([len(asked)])], rights, NO_SIGNAL)

    def forget(self) -> None:
        """Close it here: it ends, unless this is a fork of the process that uses it."""
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def _serves(self) -> bool:
        """Whether it is there, and may do what we may: one that was started as another user may more, or less."""
        if self._control is None:
            return False
        try:
            gone = self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone or self._identity != _identity():
            with living.starting:
                self.forget()
            self._reap()
            return False
        return True

    def _reap(self) -> None:
        """Let go of the one before; one that has workers still lives until it has seen that we have hung up."""
        if self._forkserver_pid is not None:
            with suppress(ChildProcessError):
                os.waitpid(self._forkserver_pid, os.WNOHANG)

    def _start(self) -> None:
        executable = hosts.check_executable(spawn.get_executable())
        with living.starting:  # nobody forks in between and takes the other end along unnoticed
            self._control, theirs = socket.socketpair()
        try:
            with theirs:
                command = _COMMAND.format(control=theirs.fileno(), preload=self._preload, path=search_path())
                self._forkserver_pid = _started([executable, *flags(), "-c", command], theirs.fileno())
            self._identity = _identity()
            # At exit, once multiprocessing has joined the workers: it tells of their ends until then.
            util.Finalize(None, self.forget, exitpriority=-100)
            self._hear_hello(executable)
        except BaseException:
            with living.starting:
                self.forget()
            self._reap()
            raise

    def _hear_hello(self, executable: str) -> None:
        assert self._control is not None
        self._control.settimeout(HELLO_SECONDS)
        try:
            said = self._control.recv(len(HELLO))
        except OSError:
            said = b""
        if said == HELLO:
            self._control.setblocking(True)
            return
        if self._forkserver_pid is not None:
            with suppress(OSError):
                os.kill(self._forkserver_pid, signal.SIGKILL)
        raise ConfigError(hosts.not_python(executable))


def flags() -> list[str]:
    """This interpreter's own flags for another one, which looks for nothing in the working directory."""
    own: list[str] = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return own if getattr(sys, "frozen", False) or "-P" in own else [*own, "-P"]


@contextmanager
def run_safely() -> Iterator[None]:
    """Whatever multiprocessing starts in this block looks for nothing in the working directory either."""
    given = util._args_from_interpreter_flags  # type: ignore[attr-defined]
    safe = flags()
    util._args_from_interpreter_flags = lambda: safe  # type: ignore[attr-defined]
    try:
        yield
    finally:
        util._args_from_interpreter_flags = given  # type: ignore[attr-defined]


def _started(command: list[str], control: int) -> int:
    """Start it in a session of its own, with all signals held back until it is ready for them; its pid."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        server: Any = subprocess.Popen(
            command, pass_fds=[control], start_new_session=True, env={**os.environ, MARK: str(os.getpid())}
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    server.returncode = 0  # it is to outlive this record of it, without a word
    return int(server.pid)


def _identity() -> tuple[object, ...]:
    """Who this process is to the system."""
    return (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), tuple(os.getgroups()))
