"""The questions about arrays, a live stream and the loop's lag run, lose no record, and leave figures of their shape.

How good the figures are is not looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import lag
from benchmarks.lag_contestants import Contestant, Timed, idle
from benchmarks.measure import WrongWork
from benchmarks.work import expected
from benchmarks.workload import Done

ROOT = Path(__file__).parents[2]
QUESTIONS = ("arrays", "latency", "lag")
DELAYS = ("p50", "p99", "max")
needs_numpy = pytest.mark.skipif(find_spec("numpy") is None, reason="arrays are numpy's")


@dataclass(frozen=True)
class Answer:
    """The figures a question leaves, and what it prints."""

    question: str
    found: dict[str, Any]
    printed: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.found["contestants"]
        return rows


def python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module", params=[pytest.param("arrays", marks=needs_numpy), "latency", "lag"])
def answer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    question: str = request.param
    place = tmp_path_factory.mktemp(question)
    done = python(place, "-m", f"benchmarks.{question}", "--quick", "--json", "figures.json")
    assert done.returncode == 0, done.stderr
    return Answer(question, json.loads((place / "figures.json").read_text()), done.stdout)


@pytest.mark.process
def test_the_answer_says_what_was_asked_and_where(answer: Answer) -> None:
    assert answer.found["question"] == answer.question
    assert answer.found["quick"] is True
    assert answer.found["repeats"] == 1
    assert answer.found["workers"] == 2
    assert answer.found["machine"]["platform"] in answer.printed
    assert {row["kind"] for row in answer.rows} >= {"ours", "peer" if answer.question != "arrays" else "pool"}


@pytest.mark.process
def test_every_row_is_of_another_contestant_and_is_printed(answer: Answer) -> None:
    assert len({(row["key"], row.get("loop")) for row in answer.rows}) == len(answer.rows)
    for row in answer.rows:
        assert f"| {row['label']} " in answer.printed


@pytest.mark.process
def test_all_records_were_done(answer: Answer) -> None:
    for row in answer.rows:
        if answer.question == "arrays":
            assert row["records_checked"] == row["records"] > 0
            assert row["checksum"] == row["checksum_expected"], row["label"]
        elif answer.question == "latency":
            assert row["n"] == answer.found["records"] > 0
        else:  # `lag.measured` refuses a turn with a record too few: see below
            assert (row["records"] > 0) == (row["kind"] != "idle")


@pytest.mark.process
def test_figures_grow_from_the_least_to_the_most(answer: Answer) -> None:
    for row in answer.rows:
        if answer.question == "arrays":
            assert 0 < row["rate_min"] <= row["rate"] <= row["rate_max"]
        else:
            p50, p99, longest = (row[name]["median"] for name in DELAYS)
            assert p50 <= p99 <= longest, row["label"]


@pytest.mark.process
def test_each_figure_comes_with_its_spread_and_how_many_there_were(answer: Answer) -> None:
    for row in answer.rows:
        if answer.question == "arrays":
            assert len(row["seconds"]) == len(row["start_seconds"]) == 1
        else:
            assert row["n"] > 0
            assert all(row[name].keys() == {"median", "low", "high", "n"} for name in DELAYS)


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
