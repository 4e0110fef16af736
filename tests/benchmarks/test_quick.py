"""The benchmarks run, check their contestants, and leave figures of the promised shape. Times are not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import work
from benchmarks.measure import Contestant, WrongWork, interleaved
from benchmarks.table import aligned

ROOT = Path(__file__).parents[2]
CONTESTANTS = {
    "ours",
    "ours_async_feed",
    "ours_chunk_feed",
    "ours_results",
    "chunked",
    "chunked_results",
    "plain",
    "original",
    "original_idle_tail",
    "hop",
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `python -m benchmarks --quick` prints, and where it leaves its figures."""
    place = tmp_path_factory.mktemp("figures")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(place)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, place


@pytest.fixture
def found(asked: tuple[str, Path]) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((asked[1] / "overhead.json").read_text())
    return figures


@pytest.mark.process
def test_every_contestant_takes_every_record_through_the_steps(found: dict[str, Any]) -> None:
    assert {row["key"] for row in found["contestants"]} == CONTESTANTS
    for row in found["contestants"]:
        assert row["records"] > 0
        assert row["records_checked"] == row["records"]
        # record + 1, times 2, summed over 0 … n-1, worked out here by another way than there
        assert row["checksum"] == sum(2 * (record + 1) for record in range(row["records"])), row["label"]


@pytest.mark.process
def test_rates_come_with_their_spread_and_their_start(found: dict[str, Any]) -> None:
    for row in found["contestants"]:
        assert len(row["seconds"]) == len(row["start_seconds"]) == found["repeats"] == 1
        assert 0 < row["rate_min"] <= row["rate"] <= row["rate_max"]
        assert row["start"] > 0
        assert row["steady_rate"] > 0


@pytest.mark.process
def test_ratios_are_those_of_the_rates(found: dict[str, Any]) -> None:
    rates = {row["key"]: row["rate"] for row in found["contestants"]}
    assert set(found["ratios"]) == {row["key"] for row in found["contestants"] if row["ours"]}
    for mine, ratios in found["ratios"].items():
        assert ratios == pytest.approx({key: rates[mine] / rate for key, rate in rates.items()})


@pytest.mark.process
def test_the_knobs_of_peers_are_set_to_the_best_that_was_tried(found: dict[str, Any]) -> None:
    tuned = [row for row in found["contestants"] if row["knob"]]
    assert {row["key"] for row in tuned} == {"chunked", "chunked_results", "hop"}
    for row in tuned:
        assert len(row["swept"]) > 1
        assert row["swept"][str(row["choice"])] == max(row["swept"].values())


@pytest.mark.process
def test_the_machine_is_named(found: dict[str, Any]) -> None:
    assert found["quick"] is True
    assert found["machine"]["cpus"] == os.cpu_count()
    assert found["machine"]["python"].endswith(sys.version.split()[0])


@pytest.mark.process
def test_the_table_has_a_line_for_each_contestant(asked: tuple[str, Path], found: dict[str, Any]) -> None:
    lines = asked[0].splitlines()
    for row in found["contestants"]:
        assert any(line.startswith(f"| {row['label']}") for line in lines), row["label"]


@pytest.mark.process
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is in the extra 'bench'")
def test_the_picture_is_small(asked: tuple[str, Path]) -> None:
    picture = (asked[1] / "overhead.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 80_000


def test_a_contestant_that_loses_a_record_is_refused() -> None:
    lazy = Contestant("lazy", "a lazy one", 100, lambda records: work.expected(records - 1))
    with pytest.raises(WrongWork, match="a lazy one"):
        interleaved([lazy], 1)


def test_contestants_take_turns_and_the_first_is_not_always_the_same() -> None:
    calls: list[str] = []

    def contestant(name: str) -> Contestant:
        def run(records: int) -> work.Done:
            if records > 1:
                calls.append(name)
            return work.expected(records)

        return Contestant(name, name, 10, run)

    interleaved([contestant("a"), contestant("b"), contestant("c")], 3)
    assert calls == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_a_knob_is_tried_once_a_choice_and_the_fastest_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("benchmarks.measure.time.perf_counter", lambda: clock[0])

    def run(records: int, choice: int) -> work.Done:
        clock[0] += {1: 5.0, 2: 1.0, 3: 4.0}[choice]
        return work.expected(records)

    (timing,) = interleaved([Contestant("t", "t", 100, run, choices=(1, 2, 3), knob="size")], 2)
    assert timing.choice == 2
    assert timing.swept == {1: 20.0, 2: 100.0, 3: 25.0}
    assert timing.rates == [100.0, 100.0]


def test_a_table_is_as_wide_as_its_widest_cells() -> None:
    table = aligned([["name", "n"], ["a long one", "1"], ["b", "1,000"]])
    assert table.splitlines() == [
        "| name       |     n |",
        "| :--------- | ----: |",
        "| a long one |     1 |",
        "| b          | 1,000 |",
    ]
