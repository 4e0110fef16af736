"""The `frame` of the plugin: made as the marker says, for any kind of test, and nothing of it may be left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeframe_async.testing import procfs

TESTS = """
import asyncio, subprocess, sys, threading, time
import pytest
from pipeframe_async import PipelineEngine

def double(record):
    return 2 * record, True

class Doubles(PipelineEngine):
    steps = [double]

    async def feed(self):
        for record in range(100):
            yield record

async def test_good_run(frame):
    assert (await frame.run(Doubles)).delivered == 100

async def test_good_calls_of_a_warm_frame(frame):
    async with frame:
        assert await frame.call(Doubles, 21) == 42

def test_good_run_of_a_test_that_is_not_async(frame):
    assert asyncio.run(frame.run(Doubles)).delivered == 100

@pytest.mark.frame(executor="inline", cpu_count=None)
async def test_good_frame_that_is_made_as_the_marker_says(frame):
    report = await frame.run(Doubles)
    assert report.steps[0].where == "inline"

@pytest.mark.anyio
async def test_good_run_with_another_plugin(frame):
    assert (await frame.run(Doubles)).delivered == 100

kept = []

async def test_leaves_a_task(frame):
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="stray"))

def test_leaves_a_thread(frame):
    threading.Thread(target=time.sleep, args=(5,), daemon=True, name="stray").start()

def test_leaves_a_child(frame):
    kept.append(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]))

async def test_leaves_a_frame_open(frame):
    await frame.__aenter__()
    await frame.call(Doubles, 1)
    kept.append(frame)

def test_good_without_a_frame_is_not_looked_at():
    threading.Thread(target=time.sleep, args=(5,), daemon=True, name="stray").start()
"""

IMPATIENT = "from pipeframe_async.testing import leaks\nleaks.PATIENCE = 0.3\n"


@pytest.mark.process
@pytest.mark.skipif(not procfs.AVAILABLE, reason="reads /proc")
def test_a_frame_works_in_any_test_and_what_is_left_fails_it(tmp_path: Path) -> None:
    run = pytest_of(tmp_path, "-p", "impatient")
    leaked = set(re.findall(r"^ERROR test_it.py::test_leaves_(\w+)", run.stdout, re.MULTILINE))
    assert leaked == {"a_task", "a_thread", "a_child", "a_frame_open"}, run.stdout + run.stderr
    assert not re.findall(r"^(?:ERROR|FAILED) test_it.py::test_good_(\w+)", run.stdout, re.MULTILINE)
    assert "10 passed, 4 errors" in run.stdout


def pytest_of(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS)
    (folder / "impatient.py").write_text(IMPATIENT)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\naddopts = --strict-markers\n")
    plugins = ["pipeframe_async.testing.plugin", "pytest_asyncio.plugin", "anyio.pytest_plugin"]
    root = Path(__file__).parents[2]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rA",
            "-p",
            "no:cacheprovider",
            *(part for name in plugins for part in ("-p", name)),
            *more,
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # it may be installed, and then under another name
            "PYTHONPATH": os.pathsep.join([str(root), str(folder)]),
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_session_without_frames_imports_nothing_of_the_library_but_the_plugin() -> None:
    code = (
        "import sys, pytest, asyncio, pipeframe_async.testing.plugin\n"
        "print(*sorted(name for name in sys.modules if name.startswith('pipeframe_async')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert shown.stdout.split() == ["pipeframe_async", "pipeframe_async.testing", "pipeframe_async.testing.plugin"]
