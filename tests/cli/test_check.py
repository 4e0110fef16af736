"""`pipeframe check`: what is wrong with a pipeline, or how it would run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Pipeframe, in_its_own_process


def rows(out: str) -> dict[str, str]:
    """The table, by what stands in front of each line."""
    lines = [line.strip().split("  ", 1) for line in out.splitlines()[2:]]
    return {name: value.strip() for name, *rest in lines for value in rest}


def test_the_plan_is_told(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("check", "app:Inverse", "--app-dir", app_dir, "--cpu-count", "3", "--buffer-size", "50")
    assert ending.code == 0
    assert ending.out.splitlines()[0] == "Inverse is ready to run."
    assert "2. double (worker process)" in ending.out
    assert rows(ending.out) == {
        "feed": "iterable, in a thread",
        "source": "batch: the feed runs to its end before the first step starts",
        "steps": "1. invert (worker process)",
        "order": "input: results in feed order",
        "sink": "async, on the loop",
        "dead letter": "none",
        "failures": "stops at the first",
        "batches": "self-tuning",
        "workers": "3",
        "buffer": "50 records",
    }


def test_a_slip_of_a_name_is_said(tmp_path: Path) -> None:
    program = "from pipeframe_async import PipelineEngine, apply\n"
    program += "class P(PipelineEngine):\n    steps, feed, max_failure = [apply(abs)], [1], 3\n"
    (tmp_path / "misspelt.py").write_text(program)
    ending = in_its_own_process(tmp_path, "check", "misspelt:P", "--app-dir", ".")
    assert ending.code == 1
    assert "P has `max_failure`, which means nothing here: did you mean `max_failures`?" in ending.err


def test_what_is_set_is_in_the_plan(pipeframe: Pipeframe, app_dir: Path) -> None:
    settings = ["source=stream", "timeout=3", "order=completion", "max_failures=0.25", "batch_size=100"]
    given = [word for setting in settings for word in ("--set", setting)]
    told = rows(pipeframe("check", "app:Forgiving", "--app-dir", app_dir, "--executor", "threads", *given).out)
    assert told["source"] == "stream: feed and steps run together, until the feed ends or is idle for 3 s"
    assert told["steps"] == "1. invert (thread)"
    assert told["order"] == "completion: results as they finish"
    assert told["dead letter"] == "in a thread"
    assert told["failures"] == "stops when more than 25% have failed"
    assert told["batches"] == "100 records each"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Feedless", "Feedless has no feed: write `async def feed(self)`"),
        ("Locked", "Locked cannot be sent to the workers"),
        ("Needy", "Needy() cannot be made without arguments"),
        ("Failing", "Failing() raised LookupError: no table"),
    ],
)
def test_what_is_wrong_is_one_readable_paragraph(name: str, message: str, pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("check", f"app:{name}", "--app-dir", app_dir)
    assert ending.code == 1
    assert ending.out == ""
    assert ending.err.startswith(f"Error: {message}")
    assert len(ending.err.splitlines()) == 1


def test_what_cannot_be_sent_to_workers_may_run_in_threads(pipeframe: Pipeframe, app_dir: Path) -> None:
    assert pipeframe("check", "app:Locked", "--app-dir", app_dir, "--executor", "threads").code == 0


def test_a_knob_set_wrong_is_named(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("check", "app:Inverse", "--app-dir", app_dir, "--set", "order=sideways")
    assert ending.code == 1
    assert (
        ending.err == "Error: Inverse.order='sideways': must be 'input' or 'completion' or a function of the record\n"
    )


def test_checking_runs_nothing(pipeframe: Pipeframe, app_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = app_dir / "started"
    monkeypatch.setenv("STARTED", str(started))
    assert pipeframe("check", "app:Endless", "--app-dir", app_dir).code == 0
    assert not started.exists()
