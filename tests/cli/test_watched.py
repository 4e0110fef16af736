"""`pipeframe run --monitor --report --health-file`: the options that show a run to others."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.process.host_programs.started import posix, program

pytestmark = [pytest.mark.process, posix]

MODULE = """
import asyncio
from pipeframe_async import PipelineEngine

def step(number):
    return number, True

class Waits(PipelineEngine):
    steps = [step]
    source = "stream"
    timeout = None
    async def feed(self):
        yield 1
        await asyncio.Event().wait()
"""


def arguments(place: Path, *more: str) -> tuple[str, ...]:
    (place / "waits.py").write_text(MODULE)
    return "-m", "pipeframe_async", "run", "waits:Waits", "--app-dir", str(place), "--progress", "none", *more


def test_it_says_where_the_monitor_is_and_keeps_report_and_health(tmp_path: Path) -> None:
    report, health = tmp_path / "report.html", tmp_path / "health"
    options = "--monitor", "127.0.0.1:0", "--report", str(report), "--health-file", str(health)
    with program(tmp_path, *arguments(tmp_path, *options)) as running:
        running.wait_until(lambda: "the monitor is at http://127.0.0.1:" in running.written)
        url = running.written.split("the monitor is at ")[1].split()[0]
        assert httpx.get(f"{url}livez").text == "ok\n"
        running.wait_for_file("health")
        assert not report.exists()
        os.kill(running.process.pid, signal.SIGTERM)
        assert running.ends(within=20) == 130
    assert re.search(r'"pipeline": "Waits"', report.read_text())
    assert not health.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--monitor", "0.0.0.0:0"), "set monitor_token= to a secret"),
        (("--monitor", "nowhere"), 'must be "host:port"'),
        (("--report", "none/report.html"), "none is no folder"),
        (("--health-file", "none/health"), "none is no folder"),
    ],
)
def test_what_will_not_do_is_said_before_anything_starts(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    with program(tmp_path, *arguments(tmp_path, *options)) as running:
        assert running.ends(within=20) == 1
        assert said in running.written
