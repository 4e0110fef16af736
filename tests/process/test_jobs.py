"""A job that is killed goes on, wherever it was: between two calls that change a file, and in the middle of a write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async.sinks import DeadLetters
from pipeframe_async.state_file import look
from tests.process.jobs import RECORDS

ROOT = Path(__file__).parents[2]
SHARE = int(os.environ.get("JOB_MOMENTS_SHARE", "12"))
"""One in so many moments is tried; 1 is all of them (`tests/soak/jobs.py`)."""

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform == "win32", reason="it is killed by a signal")]


def job(place: Path, order: str, end: str, die_at: int = -1) -> dict[str, Any] | None:
    """One life; what it says at its end, or None where it was killed."""
    place.mkdir(exist_ok=True)
    if not (place / "in.jsonl").exists():
        (place / "in.jsonl").write_text("".join(f'{{"id": {number}}}\n' for number in range(RECORDS)))
    command = [sys.executable, "-m", "tests.process.jobs", str(place), order, end, str(die_at)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    if done.returncode == -9:
        return None
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def dead(place: Path) -> list[tuple[Any, int]]:
    return [(entry.record(), entry.attempts) for entry in DeadLetters(place / "dead").entries()]


@pytest.mark.timeout(600 // SHARE + 60)
@pytest.mark.parametrize(("order", "end"), [("input", ""), ("input", ".gz"), ("completion", ""), ("key", "")])
def test_killed_at_any_moment_it_comes_to_the_same(tmp_path: Path, order: str, end: str) -> None:
    whole = tmp_path / "whole"
    undisturbed = job(whole, order, end)
    assert undisturbed is not None
    wanted = (whole / f"out.jsonl{end}").read_bytes()
    for moment in range(1 + undisturbed["moments"] % SHARE, undisturbed["moments"] + 1, SHARE):
        place = tmp_path / f"moment{moment}"
        if job(place, order, end, moment) is not None:
            assert moment > undisturbed["moments"] // 2  # a life has a few more or fewer, as batches come together
            continue
        last = job(place, order, end)
        assert last is not None
        found = (place / f"out.jsonl{end}").read_bytes()
        if order == "input":
            assert found == wanted, f"killed at moment {moment}"
        else:
            assert Counter(found.splitlines()) == Counter(wanted.splitlines()), f"killed at moment {moment}"
        assert sorted(dead(place), key=str) == sorted(dead(whole), key=str), f"killed at moment {moment}"
        state, _, holder = look(str(place / "state"))
        assert state is not None
        assert (state.finished, state.done.watermark, holder) == (True, RECORDS, None)
        assert state.totals == look(str(whole / "state"))[0].totals  # type: ignore[union-attr]


def test_killed_again_and_again_it_comes_to_the_same(tmp_path: Path) -> None:
    whole, place = tmp_path / "whole", tmp_path / "killed"
    undisturbed = job(whole, "input", "")
    assert undisturbed is not None
    lives = 0
    while (last := job(place, "input", "", undisturbed["moments"] // 7 + 3 * lives)) is None:
        lives += 1
        assert lives < 50
    assert lives > 3
    assert last["fed"] == RECORDS
    assert (place / "out.jsonl").read_bytes() == (whole / "out.jsonl").read_bytes()
    assert dead(place) == dead(whole)
