"""How a worker process is started: from a fork server of our own, or by spawn; never by a fork of the app.

Two things differ from multiprocessing's own start: the child is not told about the user's `__main__`, so
scripts need no guard and notebooks work; and the fork server is ours, so what it preloads is not the user's
business. The server starts with the first worker, in 80-100 ms, and ends with this process.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import context, reduction, spawn, util
from multiprocessing import process as processes
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess, current_process
from typing import Any

from pipeframe_async._worker import bootstrap
from pipeframe_async._worker.bootstrap import SharedFile
from pipeframe_async._worker.surroundings import Surroundings, search_path
from pipeframe_async.executors import hosts
from pipeframe_async.executors.processes import living

PRELOAD = [
    "pipeframe_async.executors.processes.launch",
    "pipeframe_async.pipeline_engine",
    "concurrent.futures.process",
]

DEFAULT_METHOD = "spawn" if sys.platform == "win32" else "forkserver"


class LaneProcess(BaseProcess):
    """A worker that does not import the user's `__main__` and survives the user's Ctrl-C.

    Process: made and started in the parent; pickled by reference into the worker, where `run` is called.
    """

    _start_method = DEFAULT_METHOD
    forgotten_in_forks = True
    _args: tuple[Any, ...]
    _inner_threads: int | None = None
    _surroundings: Surroundings | None = None
    _streams: tuple[SharedFile, ...] = ()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - the name multiprocessing calls
        return popen(process_obj)

    def start(self) -> None:
        """Start it, also from a daemonic process.

        Those may have no children, lest they leave orphans when they are terminated. Workers end with their
        parent however that ends, so there is nothing to be refused.
        """
        config: dict[str, Any] = current_process()._config  # type: ignore[attr-defined]
        daemonic = config.pop("daemon", None)
        try:
            super().start()
        finally:
            if daemonic is not None:
                config["daemon"] = daemonic

    def run(self) -> None:
        """Prepare this process, then do what the pool wants; and not stay much longer."""
        bootstrap.prepare(self._surroundings, [file.fd for file in self._streams])
        bootstrap.keep_from_children(*self._args[:2])  # the pool's queues
        super().run()
        bootstrap.leave_soon()
        bootstrap.end_pools()


class LaneContext(BaseContext):
    """A multiprocessing context for one pool of one worker; remembers the process it made.

    Args:
        method: `"forkserver"` or `"spawn"`.
        inner_threads: how many threads a library of numbers may start in it, where the user has not said; None for
            as many as it likes.
    """

    def __init__(self, method: str = DEFAULT_METHOD, inner_threads: int | None = None) -> None:
        self._name = method
        self._inner_threads = inner_threads
        self.process: LaneProcess | None = None

    def Process(self, *args: Any, **kwargs: Any) -> LaneProcess:  # noqa: N802 - the name the pool calls
        """Make the pool's worker."""
        self.process = LaneProcess(*args, **kwargs)
        self.process._start_method = self._name
        self.process._inner_threads = self._inner_threads
        self.process.daemon = False  # a daemonic parent's would not let its steps start processes
        return self.process


def ready(method: str) -> None:
    """Have what workers are started by; called in a lane's thread, before anything is made for one.

    Raises:
        ConfigError: this program cannot be started again as Python.
    """
    if sys.platform != "win32" and method != "spawn":
        _server.ready()


def popen(process: LaneProcess) -> Any:
    """Start a worker; called by `LaneProcess.start`."""
    if sys.platform != "win32":
        return _Spawned(process) if process._start_method == "spawn" else _Served(process)
    from multiprocessing import popen_spawn_win32

    with _hidden_main():
        started = popen_spawn_win32.Popen(process)
    living.hold(started)
    return started


if sys.platform != "win32":
    from multiprocessing import popen_forkserver, popen_spawn_posix, resource_tracker
    from multiprocessing.forkserver import read_signed

    from pipeframe_async.executors.processes.forkserver import ForkServer, flags

    _server = ForkServer(PRELOAD)

    def _in_forked_child() -> None:  # in the child's only thread, with `living.starting` held by it
        """Let go of the parent's workers and of its fork server: it ends when nobody has its socket any more."""
        global _server
        try:
            living.forget()
            _server.forget()
            _server = ForkServer(PRELOAD)
        finally:
            living.starting.release()

    os.register_at_fork(
        before=living.starting.acquire, after_in_parent=living.starting.release, after_in_child=_in_forked_child
    )

    class _Served(popen_forkserver.Popen):
        """A child of our fork server."""

        _fds: list[int]

        def _launch(self, process: LaneProcess) -> None:
            self._asking = threading.Lock()
            message = _first_message(self, process)
            _server.ready()
            with living.starting:  # lanes start workers in threads of their own: one at a time talks to the server
                self.sentinel, teller = os.pipe()
                child_pipe, pipe = os.pipe()
                # The child watches the other end of this pipe: it must stay open until we end.
                living.hold(self, pipe, self.sentinel)
            try:
                with living.starting:
                    _server.fork(teller, child_pipe, self._fds)
            finally:
                os.close(teller)
                os.close(child_pipe)
            with open(pipe, "wb", closefd=False) as stream:
                stream.write(message)
            pid = read_signed(self.sentinel)  # blocks the lane's thread until the server has forked
            if pid < 0:
                raise OSError(-pid, f"its fork was refused: {os.strerror(-pid)}")
            self.pid = pid

        def poll(self, flag: int = os.WNOHANG) -> int | None:
            """As it is inherited, by one thread at a time: two would wait for the one code there is."""
            if flag != os.WNOHANG:
                wait([self.sentinel])
            with self._asking:
                return super().poll(os.WNOHANG)

    class _Spawned(popen_spawn_posix.Popen):
        """A child started as a fresh interpreter."""

        _fds: list[int]

        def _launch(self, process: LaneProcess) -> None:
            tracker = resource_tracker.getfd()
            assert tracker is not None
            self._fds.append(tracker)
            hosts.check_executable(spawn.get_executable())
            message = _first_message(self, process)
            with living.starting:
                self.sentinel, child_sentinel = os.pipe()
                child_pipe, pipe = os.pipe()
                living.hold(self, self.sentinel, pipe)
            try:
                command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=child_pipe)
                if not getattr(sys, "frozen", False):  # nothing of the working directory is run
                    command[1 : command.index("-c")] = flags()
                fds = [*self._fds, child_pipe, child_sentinel]
                self.pid = util.spawnv_passfds(os.fsencode(spawn.get_executable()), command, fds)
                self._watch_itself()
                with open(pipe, "wb", closefd=False) as stream:
                    stream.write(message)
            finally:
                os.close(child_pipe)
                os.close(child_sentinel)

        def _watch_itself(self) -> None:
            """Learn of the end from the process, where that can be: a child it forks keeps its pipes open."""
            if hasattr(os, "pidfd_open"):
                with suppress(OSError), living.starting:
                    pipe, self.sentinel = self.sentinel, os.pidfd_open(self.pid)
                    living.replace(self, pipe, self.sentinel)


def _first_message(popen: Any, process: LaneProcess) -> bytes:
    """What the child reads first: how to prepare, without the user's main module, and then the process object."""
    process._surroundings = Surroundings.here(process._inner_threads)
    process._streams = tuple(SharedFile(fd) for fd in (1, 2) if _is_open(fd))
    preparation = _preparation(process.name)
    stream = io.BytesIO()
    context.set_spawning_popen(popen)
    try:
        reduction.dump(preparation, stream)
        reduction.dump(process, stream)
    finally:
        context.set_spawning_popen(None)
    return stream.getvalue()


def _preparation(name: str) -> dict[str, Any]:
    """What `multiprocessing.spawn.prepare` reads, but for the main module and the directory.

    Its own way to collect them chooses a start method for the whole app, and fails where the directory is gone.
    """
    spawn._check_not_importing_main()  # type: ignore[attr-defined]
    logger: logging.Logger | None = util._logger  # type: ignore[attr-defined]
    told: dict[str, Any] = {
        "name": name,
        "authkey": current_process().authkey,
        "log_to_stderr": util._log_to_stderr,  # type: ignore[attr-defined]
        "sys_path": search_path(),
        "sys_argv": sys.argv,
        "orig_dir": processes.ORIGINAL_DIR,  # type: ignore[attr-defined]
    }
    if logger is not None:
        told["log_level"] = logger.getEffectiveLevel()
    if (method := multiprocessing.get_start_method(allow_none=True)) is not None:
        told["start_method"] = method
    return told


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Windows starts a child in one step that cannot be told to skip `__main__`: show it an empty one."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = type(sys)("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
