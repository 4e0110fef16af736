"""Ctrl-C and SIGTERM for a script that uses the synchronous front, and what is left when the parent is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeframe_async.testing import procfs

pytestmark = pytest.mark.process

SCRIPT = """
import os, signal, sys, time
import pipeframe_async
from pipeframe_async import PipelineEngine

def step(record):
    if sys_argv_hang and record > 3:
        open(started, "w").close()
        time.sleep(1000)
    return record, True

sys_argv_hang, started = sys.argv[1] == "hang", sys.argv[2]

class Endless(PipelineEngine):
    source, timeout, steps = "stream", None, [step]

    async def feed(self):
        import asyncio
        n = 0
        while True:
            yield n
            n += 1
            await asyncio.sleep(0.0005)
            if n == 200 and not sys_argv_hang:
                open(started, "w").close()

report = pipeframe_async.run(Endless, cpu_count=2, buffer_size=100)
print(report.ended_by, report.fed == report.delivered, report.aborted)
"""


@contextmanager
def script(tmp_path: Path, mode: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The script, started and at work; its output is in the file."""
    source, started, out = tmp_path / "endless.py", tmp_path / "started", tmp_path / "out"
    source.write_text(SCRIPT)
    with out.open("wb") as file:
        process = subprocess.Popen([sys.executable, str(source), mode, str(started)], stdout=file, stderr=file)
    try:
        wait_for(started.exists, process)
        yield process, out
    finally:
        process.kill()
        process.wait()


def descendants(parent: int) -> list[int]:
    """Processes that this one has started, and those that they have."""
    known = procfs.processes().values()
    found = [parent]
    for pid in found:
        found += [process.pid for process in known if process.parent == pid]
    return found[1:]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        assert process.poll() is None, "the script ended early"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_the_run_in_good_order(tmp_path: Path, number: int) -> None:
    with script(tmp_path, "work") as (process, out):
        process.send_signal(number)
        assert process.wait(10) == 0
    assert out.read_text().splitlines() == ["stopped True 0"]


def test_a_second_sigint_aborts_a_run_that_hangs(tmp_path: Path) -> None:
    with script(tmp_path, "hang") as (process, out):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) in (130, -signal.SIGINT)
    assert "KeyboardInterrupt" in out.read_text()
    assert out.read_text().count("frame.py") <= 1  # nothing of our insides


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    with script(tmp_path, "hang") as (process, _):
        family = descendants(process.pid)
        assert family
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    deadline = time.monotonic() + 2.0
    while alive := [
        process for process in procfs.processes().values() if process.pid in family and process.state != "Z"
    ]:
        assert time.monotonic() < deadline, f"still alive: {[str(process) for process in alive]}"
        time.sleep(0.01)
