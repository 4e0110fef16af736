"""The fork server: forks a worker for each request of the app, and tells how each of them ended.

Comes in: over one socket pair, whose other end only the app has, the descriptors of a worker that is to be. Goes out:
its pid, or why it could not be forked; later its exit code. It ends when the app's end is closed.

multiprocessing's own was not enough: it needs a directory for its socket, waits for ever where SIGCHLD came in
blocked, ends with all its workers when one fork is refused, and is in the app's process group until it has started. A
signal to that whole group (Ctrl-C, `timeout`, a closed terminal) is the app's to handle.

Process: `forkserver` is the fork server's main program, started by `executors/processes/forkserver.py`; what it forks
goes on in `_be_worker`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from multiprocessing import forkserver as standard
from multiprocessing import resource_tracker, spawn

from pipeframe_async._worker.surroundings import MARK, open_standard_streams, raise_descriptors

HELLO = b"!"
"""What the server says first: whoever started it then knows that it was Python that has started."""
MAX_FDS = 64

assert sys.platform != "win32", "there is no fork on Windows: workers are spawned"


def forkserver(control: int, preload: Sequence[str]) -> None:
    """Serve until the app is gone.

    Args:
        control: descriptor of the server's end.
        preload: modules to import before anything is forked; what cannot be imported is left out.
    """
    os.environ.pop(MARK, None)
    open_standard_streams()
    _leave_the_group()
    with socket.socket(fileno=control) as app:
        app.sendall(HELLO)
        for name in preload:
            with contextlib.suppress(Exception):
                import_module(name)
        raise_descriptors()  # each worker costs one; it gets the app's own limit back
        _Server(app).serve()


def _leave_the_group() -> None:
    """Lead a session, unless that is so; ignore Ctrl-C, and let through what was blocked while this started."""
    with contextlib.suppress(OSError):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


class _Server:
    """Args:
    app: the socket to it.
    """

    def __init__(self, app: socket.socket) -> None:
        self._app = app
        self._workers: dict[int, int] = {}  # by pid, where to write its exit code
        self._ended, self._ends = os.pipe()
        for fd in (self._ended, self._ends):
            os.set_blocking(fd, False)

    def serve(self) -> None:
        """Fork and bury until the app hangs up."""
        signal.signal(signal.SIGCHLD, _heard)
        signal.set_wakeup_fd(self._ends, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._app, selectors.EVENT_READ)
            selector.register(self._ended, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._ended in ready:
                    self._bury()
                if self._app in ready and not self._asked(selector):
                    return

    def _bury(self) -> None:
        """Tell how those ended that have."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._ended, 65536)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (teller := self._workers.pop(pid, None)) is not None:
                _tell(teller, os.waitstatus_to_exitcode(status))
                os.close(teller)

    def _asked(self, selector: selectors.BaseSelector) -> bool:
        """Fork one worker; False where the app has hung up."""
        try:
            head, fds, _, _ = socket.recv_fds(self._app, 1, MAX_FDS)
        except OSError:
            return False
        if not head:
            return False
        if len(fds) < head[0]:  # no more may be opened here
            for fd in fds[1:]:
                os.close(fd)
            self._refuse(fds[:1], errno.EMFILE)
            return True
        teller, *rest = fds
        try:
            pid = os.fork()
        except OSError as error:  # no more processes for now: that costs this one start, and nobody else
            self._refuse([teller], error.errno or errno.EAGAIN)
        else:
            if pid == 0:
                selector.close()
                self._in_worker(teller)
                _be_worker(*rest)
            self._workers[pid] = teller
            _tell(teller, pid)
        for fd in rest:
            os.close(fd)
        return True

    def _refuse(self, tellers: list[int], why: int) -> None:
        for teller in tellers:
            _tell(teller, -why)
            os.close(teller)

    def _in_worker(self, teller: int) -> None:
        """Close what is the server's, and hear signals as a new process does."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._app.close()
        for fd in (self._ended, self._ends, teller, *self._workers.values()):
            os.close(fd)


def _be_worker(pipe: int, tracker: int, *inherited: int) -> None:
    """Do what comes over the pipe; never returns."""
    code = 1
    try:
        # A step's own processes are not forked off this server: it has no address, and the worker may start its own.
        standard._forkserver._inherited_fds = list(inherited)  # type: ignore[attr-defined]
        resource_tracker._resource_tracker._fd = tracker  # type: ignore[attr-defined]
        code = spawn._main(pipe, os.dup(pipe))
    except Exception:
        sys.excepthook(*sys.exc_info())
        with contextlib.suppress(Exception):
            sys.stderr.flush()
    finally:
        os._exit(code)


def _tell(teller: int, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked is gone
        standard.write_signed(teller, number)


def _heard(*signal_and_frame: object) -> None:
    """SIGCHLD must have a handler, for the wake-up to be written."""
