"""`pipeframe run --checkpoint` and `pipeframe state`: a job that is ended goes on, and one can look at it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Pipeframe

pytestmark = pytest.mark.process

JOB = """
import time
from pipeframe_async import PipelineEngine
from pipeframe_async.checkpoint import Checkpoint

def slow(record):
    time.sleep(0.001)
    return record, True

class Job(PipelineEngine):
    steps = [slow]
    checkpoint = Checkpoint("elsewhere", every=0.05, version="v3")
"""


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    """The arguments of a job of 3,000 records."""
    (tmp_path / "app_jobs.py").write_text(JOB)
    (tmp_path / "in.jsonl").write_text("".join(f"{number}\n" for number in range(3000)))
    ends = ["--feed", str(tmp_path / "in.jsonl"), "--sink", str(tmp_path / "out.jsonl")]
    where = ["--app-dir", str(tmp_path), "--checkpoint", str(tmp_path / "job.state"), "--cpu-count", "1"]
    return ["run", "app_jobs:Job", *ends, *where, "--progress", "none"]


def ended(job: list[str], number: signal.Signals, state: Path) -> tuple[int, str]:
    """Run it, and end it when something of it is done."""
    command = [sys.executable, "-m", "pipeframe_async", *job]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        until = time.monotonic() + 30
        while time.monotonic() < until and not _done(state):
            time.sleep(0.02)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
    return process.returncode, said


def _done(state: Path) -> int:
    command = [sys.executable, "-m", "pipeframe_async", "state", str(state), "--json"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    kept = json.loads(found.stdout)["state"] if found.returncode == 0 else None
    return kept["done"]["watermark"] if kept else 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_job_that_is_ended_goes_on(
    job: list[str], number: signal.Signals, pipeframe: Pipeframe, tmp_path: Path
) -> None:
    state = tmp_path / "job.state"
    code, said = ended(job, number, state)
    if number is signal.SIGINT:
        assert code == 130
        assert "It goes on there when it is run again." in said
    looked = pipeframe("state", state)
    assert looked.code == 0
    assert "the job has been ended, and goes on when it is run again." in looked.out
    assert "JsonLines" in looked.out
    ending = pipeframe(*job)
    assert ending.code == 0, ending.err
    assert "skipped" in ending.out
    assert (tmp_path / "out.jsonl").read_text() == (tmp_path / "in.jsonl").read_text()


def test_a_job_that_is_done_says_so_until_it_is_begun_anew(
    job: list[str], pipeframe: Pipeframe, tmp_path: Path
) -> None:
    assert pipeframe(*job).code == 0
    again = pipeframe(*job)
    assert again.code == 0
    assert "nothing was left to do" in again.out
    looked = pipeframe("state", tmp_path / "job.state")
    assert "the job is done" in looked.out
    for row in ("done", "the first 3,000 records", "delivered 3,000", "v3", "decode → slow → encode"):
        assert row in looked.out
    anew = pipeframe(*job, "--restart")
    assert "skipped" not in anew.out
    assert "delivered 3,000" in anew.out


def test_what_is_in_it_is_shown_whole_on_a_narrow_terminal(
    job: list[str], pipeframe: Pipeframe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert pipeframe(*job).code == 0
    shown = "".join(pipeframe("state", tmp_path / "job.state").out.split())
    assert f"JsonLines('{tmp_path}/in.jsonl')" in shown
    assert f"JsonLines('{tmp_path}/out.jsonl')" in shown


def test_another_job_is_refused_by_its_difference(job: list[str], pipeframe: Pipeframe, tmp_path: Path) -> None:
    assert pipeframe(*job).code == 0
    (tmp_path / "in2.jsonl").write_text("1\n")
    job[job.index("--feed") + 1] = str(tmp_path / "in2.jsonl")
    ending = pipeframe(*job)
    assert ending.code == 1
    assert "job.state is the state of another job: feed was" in ending.err


def test_there_is_nothing_to_see_of_what_is_no_state(pipeframe: Pipeframe, tmp_path: Path) -> None:
    missing = pipeframe("state", tmp_path / "none")
    assert (missing.code, "there is no" in missing.err) == (1, True)
    (tmp_path / "text").write_text("no database " * 1000)
    none = pipeframe("state", tmp_path / "text")
    assert (none.code, "is no state of a job" in none.err) == (1, True)


def test_restart_of_what_is_no_job_is_refused(app_dir: Path, pipeframe: Pipeframe) -> None:
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir, "--restart")
    assert ending.code == 1
    assert "it has no `checkpoint`" in ending.err


def test_check_says_where_a_job_is_kept(job: list[str], pipeframe: Pipeframe, tmp_path: Path) -> None:
    (tmp_path / "app_kept.py").write_text(JOB + "    feed = [1]\n")
    ending = pipeframe("check", "app_kept:Job", "--app-dir", tmp_path)
    assert "every 0.05 s, in elsewhere" in ending.out
