"""A Dask cluster of processes on this machine: a scheduler and workers, ended with the block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60.0
"""Seconds that it has to come up."""


@dataclass(frozen=True, slots=True)
class Running:
    """One that is up; `scheduler` is a process."""

    address: str
    scheduler: int

    @property
    def scheduler_bytes(self) -> int:
        """What the scheduler holds."""
        pages = int(Path(f"/proc/{self.scheduler}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


@contextmanager
def running(threads: Sequence[int]) -> Iterator[Running]:
    """A cluster with a worker of so many threads for each of these."""
    from distributed import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    started = [_started("scheduler", "--host", "127.0.0.1", "--port", str(port))]
    try:
        for number in threads:
            started.append(_started("worker", address, "--nthreads", str(number), "--no-nanny"))
        with Client(address, timeout=PATIENCE, set_as_default=False) as client:
            client.wait_for_workers(len(threads), timeout=PATIENCE)
        yield Running(address, started[0].pid)
    finally:
        for process in reversed(started):
            _end(process)


def _started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *command, "--no-dashboard"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 10
    with suppress(subprocess.TimeoutExpired):
        process.wait(deadline - time.monotonic())
    process.kill()
    process.wait()
