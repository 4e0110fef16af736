"""A Dask cluster of real processes: a scheduler and workers, started, killed and started again by tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeframe_async.testing import leaks
from tests.real.servers import free_port

PATIENCE = 30.0


def until(true: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for something of other processes, in a thread that may block."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"after {seconds:g} s {what}"
        time.sleep(0.02)
    return found


class DaskCluster:
    """One scheduler, and workers by name.

    Args:
        folder: for their files.
        nanny: whether workers have one.
        certificate: of both, and of who has signed it, with its key, where they talk by TLS.
        host: of the scheduler.
        at_home: what goes before the scheduler's command, to have it run elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nanny: bool,
        certificate: Path | None = None,
        host: str = "127.0.0.1",
        at_home: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self.host = host
        self._at_home = at_home
        self.nanny = nanny
        self._tls = (
            [] if certificate is None else [f"--tls-{what}={certificate}" for what in ("ca-file", "cert", "key")]
        )
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        """As `executor=` takes it."""
        return f"dask{'+tls' if self._tls else ''}://{self.host}:{self.port}"

    @property
    def tcp(self) -> str:
        """As Dask writes it."""
        return f"{'tls' if self._tls else 'tcp'}://{self.host}:{self.port}"

    def start_scheduler(self) -> None:
        listens = "--host", self.host, "--port", str(self.port)
        self._start("scheduler", "scheduler", *listens, "--no-dashboard", before=self._at_home)

    def start_worker(
        self,
        name: str,
        threads: int = 1,
        environment: dict[str, str] | None = None,
        host: str | None = None,
        before: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        """`host`: that it listens on; `before`: what goes before its command, to have it run there."""
        self._start(
            name,
            *("worker", self.tcp, "--name", name, "--nthreads", str(threads), "--no-dashboard"),
            *("--nanny" if self.nanny else "--no-nanny", "--local-directory", str(self._folder)),
            *(() if host is None else ("--host", host)),
            environment=environment,
            before=before,
            python=python,
        )

    def joined(self, name: str) -> None:
        """Wait for a worker."""
        until(lambda: "Registered to" in self.log(name), f"{name} has not registered: {self.log(name)}")

    def _start(
        self,
        name: str,
        *command: str,
        environment: dict[str, str] | None = None,
        before: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        env = {key: value for key, value in os.environ.items() if key != leaks.TAG_NAME}
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*before, python, "-m", "dask", *command, *self._tls],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder,  # which `-m` puts first on the path
                env=env | (environment or {}),
            )

    def pid(self, name: str) -> int:
        """Of what was started: a worker, or its nanny."""
        return self._processes[name].pid

    def worker_pid(self, name: str) -> int:
        """Of the process that is the Dask worker."""
        if not self.nanny:
            return self.pid(name)
        nanny = self.pid(name)
        workers = [pid for pid in descendants(nanny) if _parent(pid) == nanny and b"spawn_main" in _command(pid)]
        assert len(workers) == 1, workers
        return workers[0]

    def kill(self, name: str) -> None:
        """As if its host had gone: with all it has started."""
        family = [self.pid(name), *descendants(self.pid(name))]
        process = self._processes.pop(name)
        for pid in family:
            kill(pid)
        process.wait()

    def log(self, name: str) -> str:
        """What it has said."""
        return (self._folder / f"{name}.log").read_text("utf-8", errors="replace")

    def lanes(self) -> set[int]:
        """The processes of ours that are on it: those that fork servers have started."""
        found = set()
        for name in self._processes:
            for pid in descendants(self.pid(name)):
                if b"forkserver" in _command(pid) and b"forkserver" in _command(_parent(pid)):
                    found.add(pid)
        return found

    def close(self) -> None:
        for name in [*self._processes]:
            self.kill(name)


def kill(pid: int) -> None:
    """With SIGKILL, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    parents = {int(path.name): _parent(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found, ask = [], [pid]
    while ask:
        children = [child for child, parent in parents.items() if parent == ask[-1]]
        ask.pop()
        found += children
        ask += children
    return found


@contextmanager
def running(folder: Path, *, nanny: bool, workers: int = 2, certificate: Path | None = None) -> Iterator[DaskCluster]:
    """A cluster of so many workers with a thread each."""
    cluster = DaskCluster(folder, nanny=nanny, certificate=certificate)
    try:
        cluster.start_scheduler()
        for number in range(workers):
            cluster.start_worker(f"w{number}")
        for number in range(workers):
            cluster.joined(f"w{number}")
        yield cluster
    finally:
        cluster.close()
