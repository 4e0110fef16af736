"""The questions that are not about rates alone run, check their contestants, and leave figures that fit one another.

How good the figures are is not looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as everything
from benchmarks.contestants import line_up
from pipeframe_async.gil import gil_enabled
from tests.benchmarks import SECONDS

ROOT = Path(__file__).parents[2]
QUESTIONS = ("arrays", "latency", "lag", "memory", "sharing", "start", "scaling", "threads", "mixed", "web", "overload")
LOOPS = ("asyncio", "uvloop")
OURS = {"ours", "ours_async_feed", "ours_results"}
CONTESTANTS = {
    "arrays": {
        f"{key}_{form}"
        for key in ("ours", "threads", "inline", "auto", "executor", "executor_map", "pool", "plain")
        for form in ("float", "array")
    },
    "latency": {"nothing", "ours", "ours_asyncio", "hop", "hop_asyncio", "submit", "apply_async", "imap"},
    "lag": {"idle", "ours", "ours_async_feed", "ours_chunk_feed", "hop", "pool"},
    "memory": OURS | {"executor_map", "executor", "pool"},
    "sharing": {"shared", "attribute"},
    "start": {"ours", "executor_fork", "executor_forkserver", "executor_spawn"},
    "threads": {
        f"{key}_{form}"
        for key in (
            "plain",
            "pool_1",
            "pool_2",
            "inline_1",
            "threads_1",
            "threads_2",
            "processes_1",
            "processes_2",
            "auto_2",
        )
        for form in ("nothing", "alone", "shared")
    },
    "mixed": {"ours", "by_hand", "width"},
    "web": {"ours", "executor", "inline"},
    "overload": {"ours", "semaphore", "in_time"},
}
THIRD_PARTY = {
    "arrays": {f"{key}_{form}" for key in ("loky", "mpire", "joblib") for form in ("float", "array")},
    "latency": {"loky", "mpire", "joblib", "pypeln", "aiomultiprocess", "spdl", "spdl_region"},
    "lag": {"spdl"},
    "memory": {"loky"},
    "sharing": {"joblib"},
    "start": {"mpire", "loky", "joblib"},
    "threads": set[str](),
    "mixed": {"spdl"},
    "web": set[str](),
    "overload": set[str](),
    "scaling": set[str](),
}

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="some of the questions read /proc"),
]


@dataclass(frozen=True)
class Answer:
    """What a question prints, and the figures it leaves."""

    question: str
    lines: list[str]
    found: dict[str, Any]
    picture: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.found["contestants"]
        return rows


Ask = Callable[[str], Answer]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Each question is asked once, when a test first wants its answer."""
    answers: dict[str, Answer] = {}

    def asked(question: str) -> Answer:
        if question in ("arrays", "sharing"):
            pytest.importorskip("numpy", reason="numpy is in the extra 'bench'")
        if question not in answers:
            answers[question] = _asked(question, tmp_path_factory.mktemp(question))
        return answers[question]

    return asked


def _asked(question: str, place: Path) -> Answer:
    figures, picture = place / "figures.json", place / "picture.png"
    draw = ["--plot", str(picture)] if find_spec("matplotlib") else []
    command = [sys.executable, "-m", f"benchmarks.{question}", "--quick", "--json", str(figures), *draw]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Answer(question, done.stdout.splitlines(), json.loads(figures.read_text()), picture)


@pytest.fixture(params=QUESTIONS)
def answer(request: pytest.FixtureRequest, ask: Ask) -> Answer:
    return ask(request.param)


@pytest.fixture(params=sorted(CONTESTANTS))
def rivals(request: pytest.FixtureRequest, ask: Ask) -> Answer:
    return ask(request.param)


@pytest.fixture(params=["latency", "lag"])
def delays(request: pytest.FixtureRequest, ask: Ask) -> Answer:
    return ask(request.param)


@pytest.fixture
def arrays(ask: Ask) -> Answer:
    return ask("arrays")


@pytest.fixture
def latency(ask: Ask) -> Answer:
    return ask("latency")


@pytest.fixture
def lag(ask: Ask) -> Answer:
    return ask("lag")


@pytest.fixture
def memory(ask: Ask) -> Answer:
    return ask("memory")


@pytest.fixture
def sharing(ask: Ask) -> Answer:
    return ask("sharing")


@pytest.fixture
def start(ask: Ask) -> Answer:
    return ask("start")


@pytest.fixture
def scaling(ask: Ask) -> Answer:
    return ask("scaling")


@pytest.fixture
def threads(ask: Ask) -> Answer:
    return ask("threads")


def test_the_machine_is_named(answer: Answer) -> None:
    assert answer.found["quick"] is True
    assert answer.found["question"] == answer.question
    assert answer.found["repeats"] == 1
    assert answer.found["title"]
    assert answer.found["machine"]["cpus"] == os.cpu_count()
    assert answer.found["machine"]["platform"] in answer.lines[0]


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is in the extra 'bench'")
def test_the_picture_is_small(answer: Answer) -> None:
    picture = answer.picture.read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 80_000


def test_everybody_takes_part_who_is_here_and_has_a_line(rivals: Answer) -> None:
    here = {peer.key for peer in line_up.THIRD_PARTY if peer.is_there}
    third_party = {key for key in THIRD_PARTY[rivals.question] if key.split("_")[0] in here}
    assert {row["key"] for row in rivals.rows} == CONTESTANTS[rivals.question] | third_party
    for row in rivals.rows:
        assert any(line.startswith(f"| {row['label']} ") for line in rivals.lines), row["label"]


def test_who_is_not_installed_is_named(answer: Answer) -> None:
    missing = {peer.label for peer in line_up.missing()}
    wanted = {key.removesuffix("_float").removesuffix("_array") for key in THIRD_PARTY[answer.question]}
    named = {peer.label for peer in line_up.THIRD_PARTY if peer.key in wanted}
    left_out = [line.split(": ")[1].split(" (pip")[0] for line in answer.lines if line.startswith("left out")]
    assert sorted(left_out) == sorted(missing & named)


def test_arrays_go_through_their_step_and_none_is_lost(arrays: Answer) -> None:
    for row in arrays.rows:
        assert row["records"] == row["records_checked"] > 0
        assert row["checksum"] == row["checksum_expected"], row["label"]
        if row["ours"]:
            assert row["in_order"] is True


def test_each_thread_and_process_has_done_all_of_its_records_and_the_gil_is_told(threads: Answer) -> None:
    assert threads.found["gil"] is gil_enabled()
    for row in threads.rows:
        assert row["records"] == row["records_checked"] > 0
        assert row["checksum"] == row["checksum_expected"], row["label"]
        assert row["in_order"] is True


def test_ours_is_held_against_everybody_who_gives_back_the_same(arrays: Answer) -> None:
    rates = {row["key"]: row["rate"] for row in arrays.rows}
    form = {row["key"]: row["form"] for row in arrays.rows}
    ratios = arrays.found["ratios_that_matter"]
    assert {ratio["under"] for ratio in ratios} == {row["key"] for row in arrays.rows if not row["ours"]}
    for ratio in ratios:
        assert form[ratio["over"]] == form[ratio["under"]]
        assert ratio["ratio"] == pytest.approx(rates[ratio["over"]] / rates[ratio["under"]])


def test_delays_grow_from_the_median_to_the_longest(delays: Answer) -> None:
    for row in delays.rows:
        assert row["n"] > 0
        assert row["p50"]["median"] <= row["p99"]["median"] <= row["max"]["median"], row["label"]
        for name in ("p50", "p99", "max"):
            assert row[name]["low"] == row[name]["median"] == row[name]["high"]
            assert row[name]["n"] == 1


def test_every_live_record_is_back_and_none_before_it_came(latency: Answer) -> None:
    for row in latency.rows:
        assert row["n"] == latency.found["records"]
        assert row["p50"]["median"] > 0


def test_the_ticker_runs_on_both_loops_beside_everybody(lag: Answer) -> None:
    assert [row["loop"] for row in lag.rows] == [*LOOPS] * (len(lag.rows) // 2)
    for row in lag.rows:
        assert (row["records"] == 0) == (row["kind"] == "idle")


def test_lag_is_told_against_the_idle_loop_of_the_same_kind(lag: Answer) -> None:
    idle = {row["loop"]: row["p99"]["median"] for row in lag.rows if row["kind"] == "idle"}
    for row in lag.rows:
        assert row["p99_over_idle"] == pytest.approx(row["p99"]["median"] - idle[row["loop"]])


def test_memory_is_what_came_on_top_of_the_imports(memory: Answer) -> None:
    assert {row["records"] for row in memory.rows} == {20_000}
    for row in memory.rows:
        imported, peak = row["imported"]["median"], row["peak"]["median"]
        assert 2**20 < imported <= peak
        assert row["grown"]["median"] == peak - imported


def test_what_is_shared_takes_nothing_of_a_worker_and_an_attribute_does(sharing: Answer) -> None:
    worker = {row["key"]: row["worker"]["median"] for row in sharing.rows}
    assert worker["shared"] < sharing.found["table"] / 2 < worker["attribute"]


def test_start_is_timed_cold_again_and_warm(start: Answer) -> None:
    assert start.found["records"] == 10
    for row in start.rows:
        assert all(row[name]["median"] > 0 for name in ("imports", "cold", "again", "warm"))


def test_every_size_of_feed_has_its_cost_of_a_record(scaling: Answer) -> None:
    assert {row["key"] for row in scaling.found["sizes"]} == OURS
    for row in scaling.found["sizes"]:
        sizes = [size["records"] for size in row["sizes"]]
        assert sizes == sorted(set(sizes))
        assert len(sizes) == 4
        assert all(size["ns"]["median"] > 0 for size in row["sizes"])


def test_every_number_of_workers_is_held_against_the_best_one(scaling: Answer) -> None:
    rows = scaling.found["by_workers"]
    assert {(row["key"], row["work"]) for row in rows} == {
        (key, work) for key in ("ours", "pool") for work in ("trivial", "computing")
    }
    for row in rows:
        assert [cell["workers"] for cell in row["workers"]] == [1, 2, 4, 8]
        best = max(cell["rate"]["median"] for cell in row["workers"])
        for cell in row["workers"]:
            assert cell["of_best"] == pytest.approx(cell["rate"]["median"] / best)


def test_the_parent_s_time_is_divided_by_the_batches_there_were(scaling: Answer) -> None:
    sizes = scaling.found["parent"]["sizes"]
    assert [row["batch_size"] for row in sizes] == [1, 100, 1_000, None]
    for row in sizes:
        assert row["batches"] >= row["records"] / (row["batch_size"] or row["records"])
        assert row["cpu_a_batch"]["median"] > 0
        cpu = row["cpu_a_batch"]["median"] * row["batches"]
        assert cpu == pytest.approx(row["cpu_a_record"]["median"] * row["records"])


def test_a_parent_feeds_as_many_workers_as_its_time_for_a_batch_allows(scaling: Answer) -> None:
    parent = scaling.found["parent"]
    for row in parent["feeds"]:
        cpu = parent["batch_cpu"] + parent["record_cpu"] * row["records"]
        assert row["parent_cpu"] == pytest.approx(cpu)
        assert row["workers"] * cpu == pytest.approx(max(parent["batch_seconds"], row["record_seconds"]))


def test_the_questions_are_among_all_questions() -> None:
    assert set(QUESTIONS) <= set(everything.QUESTIONS)
