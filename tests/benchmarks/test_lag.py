"""The ticker beside a run tells the truth, and no question needs numpy to be asked."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmarks import lag
from benchmarks.asking.measure import WrongWork
from benchmarks.contestants.lag import Contestant, Timed, idle
from benchmarks.works.trivial import expected
from benchmarks.works.workload import Done
from tests.benchmarks import SECONDS

ROOT = Path(__file__).parents[2]
QUESTIONS = ("arrays", "latency", "lag")


def python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.process
def test_questions_are_importable_without_numpy(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError('No module named numpy')\n")
    hidden = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    for question in QUESTIONS:
        done = python(tmp_path, "-c", f"{hidden}import benchmarks.{question}; print(benchmarks.{question}.QUESTION)")
        assert done.stdout.strip() == question, done.stderr


async def too_few(feed: Timed) -> Done:
    return expected(sum(map(len, feed.pages())) - 1)


async def all_of_them(feed: Timed) -> Done:
    return expected(sum(map(len, feed.pages())))


def test_a_contestant_that_loses_a_record_beside_the_ticker_is_refused() -> None:
    measured = partial(lag.measured, seconds=0.02)
    _, records = measured((Contestant("whole", "whole", all_of_them), "asyncio"))
    assert records > 0
    with pytest.raises(WrongWork, match="lossy"):
        measured((Contestant("lossy", "lossy", too_few), "asyncio"))


def test_the_ticker_notes_a_lag_at_each_tick_of_an_idle_loop() -> None:
    lags, records = lag.measured((Contestant("idle", "idle", idle, "idle"), "asyncio"), 0.1)
    assert records == 0
    assert 0 < len(lags) <= 0.1 / lag.TICK
