"""Health as those see it who restart programs: a service manager, and a probe that runs a command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.host_programs.started import ROOT, posix, program

pytestmark = [pytest.mark.process, posix]

MODULE = '''
import time
from pipeframe_async import PipelineEngine, run

def works(number):
    return number, True

def hangs(number):
    time.sleep(600)
    return number, True

class Waits(PipelineEngine):
    """Has worked, and waits for more."""
    steps = [works]
    source = "stream"
    timeout = None
    async def feed(self):
        import asyncio
        yield 1
        await asyncio.Event().wait()

class Hangs(Waits):
    steps = [hangs]

class Limited(Waits):
    steps = [hangs]
    time_limit = 600

if __name__ == "__main__":
    import sys
    run(globals()[sys.argv[1]], cpu_count=1, stall_after=1.0, drain_timeout=0.1, health_file="health")
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(MODULE)
    return tmp_path


def probe(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeframe_async", "health", str(place / "health"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_a_probe_finds_a_program_that_waits_live_and_ready_and_one_that_has_ended_gone(place: Path) -> None:
    with program(place, "jobs.py", "Waits") as running:
        running.wait_for_file("health")
        running.wait_until(lambda: probe(place, "--ready").returncode == 0)
        assert probe(place).stdout == "live\n"
        running.process.send_signal(signal.SIGTERM)
        assert running.ends(within=20) == 0
    gone = probe(place)
    assert gone.returncode == 1
    assert "is not there" in gone.stderr


def test_a_step_that_hangs_without_a_limit_is_not_live_and_one_inside_its_limit_is(place: Path) -> None:
    with program(place, "jobs.py", "Hangs") as running:
        running.wait_for_file("health")
        running.wait_until(lambda: probe(place).returncode == 1)
        assert "Hangs has stood still for" in probe(place).stderr
        assert "with 1 in flight, waiting for a lane" in probe(place).stderr
    with program(place, "jobs.py", "Limited") as running:
        running.wait_until(lambda: probe(place).returncode == 0)
        for _ in range(8):  # each takes a third of a second: well over `stall_after`
            assert probe(place).returncode == 0


class Manager:
    """The end of a service manager's socket."""

    def __init__(self, place: Path) -> None:
        self.address = str(place / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(30)

    def hears(self, word: str) -> None:
        """Wait until it is told so."""
        while word not in self._socket.recv(4096).decode().splitlines():
            pass

    def close(self) -> None:
        self._socket.close()


def test_a_service_manager_is_told_that_it_is_ready_well_and_stopping(place: Path) -> None:
    manager = Manager(place)
    try:
        asks = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
        with program(place, "jobs.py", "Waits", env=asks) as running:
            manager.hears("READY=1")
            manager.hears("WATCHDOG=1")
            manager.hears("WATCHDOG=1")
            running.process.send_signal(signal.SIGTERM)
            manager.hears("STOPPING=1")
            assert running.ends(within=20) == 0
    finally:
        manager.close()
