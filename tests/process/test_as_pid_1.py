"""A program that is the first process of its container: signals reach it, and nobody's orphans stay as zombies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.process.host_programs.started import linux, program

pytestmark = [pytest.mark.process, linux]

MODULE = '''
import asyncio, os, signal, subprocess
from pipeframe_async import PipelineEngine

def step(number):
    if number % 10 == 3:
        subprocess.Popen(["sleep", "60"])
        os.kill(os.getpid(), signal.SIGSEGV)
    return number, True

class Leaves(PipelineEngine):
    """Leaves orphans behind, and waits to be stopped."""
    steps = [step]
    source = "stream"
    timeout = None
    max_failures = None
    async def feed(self):
        for number in range(30):
            yield number
        while True:
            if not open("/proc/self/stat").read().startswith("1 "):
                raise RuntimeError("not the first process")
            zombies = []
            for pid in filter(str.isdecimal, os.listdir("/proc")):
                try:
                    state, parent = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[:2]
                except OSError:
                    continue
                zombies += [pid] if state == "Z" and parent == "1" else []
            open("zombies", "a").write(f" {len(zombies)}")
            await asyncio.sleep(0.1)
    async def sink(self, records):
        open("delivered", "a").write("1" * len(records))
'''
ALONE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_be_alone() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_good_order_and_orphans_are_reaped(tmp_path: Path, number: signal.Signals) -> None:
    if not can_be_alone():
        pytest.skip("may not make a namespace of processes")
    (tmp_path / "leaves.py").write_text(MODULE)
    arguments = ("-m", "pipeframe_async", "run", "leaves:Leaves", "--app-dir", str(tmp_path), "--progress", "none")
    with program(tmp_path, *arguments, "--cpu-count", "2", wrapped=ALONE) as running:
        running.wait_until(lambda: _read(tmp_path / "delivered").count("1") == 27)
        running.wait_until(lambda: _read(tmp_path / "zombies").endswith(" 0 0"))
        (first,) = [child for child in running.family() if _is_first(child.pid)]
        os.kill(first.pid, number)
        assert running.ends(within=20) == 130, running.written
        assert "stopped after" in running.written
        assert "failed 3" in running.written
        running.leaves_nobody()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _is_first(pid: int) -> bool:
    """Whether it is number 1 where it lives."""
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    return numbers[-1] == "1"
