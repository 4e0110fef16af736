"""`pipeframe run`: progress, report, errors and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Pipeframe, in_its_own_process

if os.name == "posix":
    from tests.observe.terminal import terminal

pytestmark = pytest.mark.process


def test_a_run_ends_with_its_report(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir, "--cpu-count", "1", "--set", "label=print")
    assert ending.code == 0, ending.err
    *printed, head, books, header, first, second, bottleneck = ending.out.splitlines()
    assert printed == ["2.0", "1.0", "0.6666666666666666", "0.5"]
    assert head.startswith("exhausted after")
    assert books == "fed 4 · delivered 4 · failed 0"
    assert [line.split()[0] for line in (header, first, second)] == ["step", "invert", "double"]
    assert bottleneck.startswith("Bottleneck: ")
    assert "4 of 4 records" in ending.err


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_any_kind_of_executor_can_be_named(executor: str, pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir, "--executor", executor)
    assert ending.code == 0
    assert "delivered 4" in ending.out


def test_no_progress_is_shown_when_none_is_asked_for(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir, "--executor", "inline", "--progress", "none")
    assert ending.err == ""


def test_json_is_json_throughout(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir, "--executor", "inline", "--progress", "json")
    assert [json.loads(line)["event"] for line in ending.err.splitlines()] == ["progress"]
    report = json.loads(ending.out)
    assert (report["event"], report["fed"], report["delivered"], report["error"]) == ("report", 4, 4, None)
    assert [step["name"] for step in report["steps"]] == ["invert", "double"]


def test_a_failed_record_is_shown_with_its_traceback_from_the_worker(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:WithZero", "--app-dir", app_dir, "--cpu-count", "1", "--progress", "none")
    assert ending.code == 1
    assert ending.out.startswith("failed after")
    assert "failed 1" in ending.out
    assert 'app.py", line' in ending.err
    assert "in invert" in ending.err
    assert "cli/run.py" not in ending.err
    assert ending.err.splitlines()[-1] == (
        "Error: 1 record failed, more than max_failures=0 allows; the first: "
        "step 'invert' raised ZeroDivisionError: division by zero"
    )


def test_the_json_report_of_a_failed_run_has_the_error(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:WithZero", "--app-dir", app_dir, "--executor", "inline", "--progress", "json")
    assert ending.code == 1
    report = json.loads(ending.out)
    assert (report["ended_by"], report["failed"]) == ("failed", 1)
    assert report["error"].startswith("PipelineFailed: 1 record failed")


def test_failed_records_are_no_success_even_where_they_are_allowed(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:Forgiving", "--app-dir", app_dir, "--executor", "inline", "--progress", "none")
    assert ending.code == 1
    assert ending.out.startswith("exhausted after")
    assert ending.err == ""


def test_a_feed_that_raises_is_one_line_that_controls_no_terminal(pipeframe: Pipeframe, app_dir: Path) -> None:
    command = ["run", "app:Torn", "--app-dir", app_dir, "--executor", "inline", "--progress", "none"]
    ending = pipeframe(*command)
    assert ending.code == 1
    assert ending.err == (
        "Error: the feed of Torn raised OSError: the disk\\x1b[31m has gone (--traceback shows where.)\n"
    )
    shown = pipeframe(*command, "--traceback").err
    assert "in feed" in shown
    assert "\x1b[31m" not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        ["--cpu-count", "0"],
        ["--cpu-count", "many"],
        ["--buffer-size", "-1"],
        ["--executor", "gpu"],
        ["--executor", "dask://"],
        ["--progress", "loud"],
        ["--app-dir", "/no/such/directory"],
        ["--no-such-option"],
        ["app:Other"],
    ],
)
def test_a_wrong_option_is_a_usage_error(wrong: list[str], pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir, *wrong)
    assert ending.code == 2
    assert ending.err.startswith("Usage: ")
    assert ending.out == ""


@contextmanager
def at_work(app_dir: Path, name: str, *options: str, err: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`pipeframe run` in its own process, with its feed under way; its output is in `app_dir`."""
    started = app_dir / "started"
    with (app_dir / "out").open("wb") as out, (app_dir / "err").open("wb") as err_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeframe_async", "run", f"app:{name}", "--app-dir", ".", *options],
            cwd=app_dir,
            env={**os.environ, "PYTHONPATH": str(ROOT), "STARTED": str(started)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err_file if err is None else err,
        )
    try:
        deadline = time.monotonic() + 20
        while not started.exists():
            assert process.poll() is None, (app_dir / "err").read_text()
            assert time.monotonic() < deadline, "the feed was never under way"
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_what_is_in_flight_and_ends_with_130(app_dir: Path, number: int) -> None:
    with at_work(app_dir, "Endless", "--progress", "none") as process:
        process.send_signal(number)
        assert process.wait(20) == 130
    report = (app_dir / "out").read_text()
    assert report.startswith("stopped after")
    assert "aborted" not in report
    assert (app_dir / "err").read_text() == ""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_second_interrupt_aborts(app_dir: Path) -> None:
    with at_work(app_dir, "Hanging", "--progress", "none") as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert (app_dir / "err").read_text().strip() == "Interrupted."


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are a POSIX thing")
def test_on_a_terminal_there_is_a_bar_and_then_the_report(app_dir: Path) -> None:
    with terminal() as screen:
        done = subprocess.run(
            [sys.executable, "-m", "pipeframe_async", "run", "app:Inverse", "--app-dir", ".", "--set", "label=print"],
            cwd=app_dir,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
            stdin=screen.slave,
            stdout=screen.slave,
            stderr=screen.slave,
            timeout=40,
            check=False,
        )
        written = screen.written()
    assert done.returncode == 0, written
    # The bar may be drawn between two of them.
    assert re.search(r"2\.0\r\n.*1\.0\r\n.*0\.6666666666666666\r\n.*0\.5\r\n", written, re.DOTALL)
    assert "4 of 4 records" in written
    assert written.rindex("✓") < written.rindex("exhausted after")


@pytest.mark.parametrize("own", [False, True])
def test_failed_acks_are_shown_and_are_no_success(own: bool, app_dir: Path) -> None:
    if own:  # the module has logging of its own
        with (app_dir / "app.py").open("a") as module:
            module.write("\nimport logging\nlogging.basicConfig(format='mine: %(message)s')\n")
    options = ("--app-dir", ".", "--executor", "inline", "--progress", "none")
    ending = in_its_own_process(app_dir, "run", "app:AcksFail", *options)
    assert ending.code == 1
    said = "an ack or nack raised ConnectionError: the broker is gone"
    assert ending.err.startswith(f"mine: {said}" if own else f"Error: {said}")
    assert ending.err.count(said) == 1


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are a POSIX thing")
def test_on_a_terminal_ctrl_c_is_confirmed_at_once(app_dir: Path) -> None:
    with terminal() as screen:
        with at_work(app_dir, "Endless", "--progress", "none", err=screen.slave) as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        assert re.search(r"stopping: [\d,]+ records? in flight, at most 30 s; again to abort", screen.written())
