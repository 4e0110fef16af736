"""The question about throughput runs with each work, checks its contestants, and leaves figures of the promised shape.

Times are not looked at.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import throughput
from benchmarks.asking import each_work
from benchmarks.asking.measure import WrongWork
from benchmarks.contestants import line_up
from benchmarks.contestants.contestant import Contestant
from benchmarks.works import trivial
from benchmarks.works.workload import Done
from tests.benchmarks import SECONDS

ROOT = Path(__file__).parents[2]
OURS = {"ours", "ours_async_feed", "ours_results"}
POOLS = {"executor", "executor_results", "executor_map", "pool", "pool_results", "pool_chunksize"}
ORIGINAL = {"original", "original_idle_tail"}
CONTESTANTS = {
    "trivial": OURS | POOLS | ORIGINAL | {"ours_chunk_feed", "plain", "hop"},
    "json_lines": OURS | POOLS | ORIGINAL | {"plain"},
    "computing": OURS | POOLS | {"plain", "hop"},
    "skewed": OURS | POOLS | {"plain"},
}
BOTH_FORMS = {"trivial", "json_lines"}


@dataclass(frozen=True)
class Asked:
    """What is printed of a work, where its figures are left, and what is in them."""

    work: str
    lines: list[str]
    place: Path
    found: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.found["contestants"]
        return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `python -m benchmarks --quick` leaves the figures of this question, and what it prints."""
    place = tmp_path_factory.mktemp("figures")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "throughput", "--out", str(place)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (place / "printed").write_text(done.stdout)
    return place


@pytest.fixture(params=list(CONTESTANTS))
def asked(place: Path, request: pytest.FixtureRequest) -> Asked:
    work: str = request.param
    parts = re.split(rf"^({'|'.join(CONTESTANTS)})$", (place / "printed").read_text(), flags=re.MULTILINE)
    lines = parts[parts.index(work) + 1].strip().splitlines()
    found = json.loads((place / "throughput.json").read_text())
    assert list(found["works"]) == list(CONTESTANTS)
    return Asked(work, lines, place, found["works"][work])


@pytest.mark.process
def test_every_contestant_that_is_here_takes_every_record_through_the_steps(asked: Asked) -> None:
    there = [peer for peer in line_up.THIRD_PARTY if peer.is_there]
    third_party = {peer.key for peer in there}
    if asked.work in BOTH_FORMS:
        third_party |= {f"{peer.key}_results" for peer in there if not peer.cuts}
    assert {row["key"] for row in asked.rows} == CONTESTANTS[asked.work] | third_party
    for row in asked.rows:
        assert row["records"] > 0
        assert row["records_checked"] == row["records"]
        assert row["checksum"] == row["checksum_expected"], row["label"]


@pytest.mark.process
def test_who_keeps_the_order_has_kept_it(asked: Asked) -> None:
    for row in asked.rows:
        if row["form"] == "results" and row["kind"] == "ours":
            assert row["in_order"] is True, row["label"]
        if row["form"] == "counts":
            assert row["in_order"] is None, row["label"]


@pytest.mark.process
def test_rates_come_with_their_spread_and_their_start(asked: Asked) -> None:
    for row in asked.rows:
        assert len(row["seconds"]) == len(row["start_seconds"]) == asked.found["repeats"] == 1
        assert 0 < row["rate_min"] <= row["rate"] <= row["rate_max"]
        assert row["start"] > 0
        assert row["steady_rate"] > 0


@pytest.mark.process
def test_ratios_are_those_of_the_rates(asked: Asked) -> None:
    rates = {row["key"]: row["rate"] for row in asked.rows}
    assert set(asked.found["ratios"]) == {row["key"] for row in asked.rows if row["ours"]}
    for mine, ratios in asked.found["ratios"].items():
        assert ratios == pytest.approx({key: rates[mine] / rate for key, rate in rates.items()})


@pytest.mark.process
def test_each_of_ours_is_held_against_the_best_pool_that_does_the_same(asked: Asked) -> None:
    rows = {row["key"]: row for row in asked.rows}
    against_pools = [r for r in asked.found["ratios_that_matter"] if rows[r["under"]]["kind"] == "pool"]
    assert {r["over"] for r in against_pools} == {key for key, row in rows.items() if row["ours"]}
    for ratio in against_pools:
        form = rows[ratio["over"]]["form"]
        best = max(row["rate"] for row in rows.values() if row["kind"] == "pool" and row["form"] == form)
        assert ratio["ratio"] == pytest.approx(rows[ratio["over"]]["rate"] / best)


@pytest.mark.process
def test_everybody_else_is_among_the_ratios_that_matter(asked: Asked) -> None:
    rest = {row["key"] for row in asked.rows if row["kind"] not in ("ours", "pool")}
    assert rest <= {ratio["under"] for ratio in asked.found["ratios_that_matter"]}


@pytest.mark.process
def test_the_knobs_of_peers_are_set_to_the_best_that_was_tried(asked: Asked) -> None:
    tuned = [row for row in asked.rows if len(row["swept"]) > 1]
    assert {row["key"] for row in tuned} == CONTESTANTS[asked.work] & {"executor", "hop"}
    for row in tuned:
        assert row["swept"][str(row["choice"])] == max(row["swept"].values())


@pytest.mark.process
def test_the_machine_is_named(asked: Asked) -> None:
    assert asked.found["quick"] is True
    assert (asked.found["question"], asked.found["work"]) == ("throughput", asked.work)
    assert asked.found["machine"]["cpus"] == os.cpu_count()
    assert asked.found["machine"]["python"].endswith(sys.version.split()[0])
    assert asked.found["machine"]["platform"] in asked.lines[0]


@pytest.mark.process
def test_the_tables_have_a_line_for_each_contestant_and_each_ratio(asked: Asked) -> None:
    for row in asked.rows:
        knob = f" ({row['knob']} {row['choice']:,})" if row["knob"] else ""
        assert any(line.startswith(f"| {row['label']}{knob} ") for line in asked.lines), row["label"]
    for ratio in asked.found["ratios_that_matter"]:
        assert any(line.startswith(f"| {ratio['words']} ") for line in asked.lines), ratio["words"]


@pytest.mark.process
def test_who_is_not_installed_is_named(asked: Asked) -> None:
    left_out = [line for line in asked.lines if line.startswith("left out")]
    assert len(left_out) == sum(not peer.is_there for peer in line_up.THIRD_PARTY)


@pytest.mark.process
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is in the extra 'bench'")
def test_the_picture_is_small(asked: Asked) -> None:
    picture = (asked.place / f"throughput_{asked.work}.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 80_000


def test_every_work_has_its_contestants_here() -> None:
    assert list(throughput.WORKS) == list(CONTESTANTS)


ask = partial(each_work.ask, "throughput", "What it is about.")


def line_up_of(*keys: str) -> each_work.LineUp:
    return lambda quick: ("A title", [Contestant(key, key, 300, trivial.expected, trivial.expected) for key in keys])


def test_only_the_works_and_contestants_that_are_named_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    works = {"one": line_up_of("a", "b"), "two": line_up_of("b", "c"), "three": line_up_of("c")}
    figures = tmp_path / "figures.json"
    ask(works, ["--quick", "--work", "one", "two", "three", "--only", "a", "b", "--json", str(figures)])
    found = json.loads(figures.read_text())
    assert (found["question"], found["quick"]) == ("throughput", True)
    keys = {name: [row["key"] for row in work["contestants"]] for name, work in found["works"].items()}
    assert keys == {"one": ["a", "b"], "two": ["b"]}
    assert "\nthree\n" not in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--only", "nobody"], ["--work", "two", "--only", "a"], ["--work", "four"]])
def test_who_takes_part_in_no_work_that_is_asked_is_refused_before_anything_is_measured(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        ask({"one": line_up_of("a", "b"), "two": line_up_of("b")}, ["--quick", *options])
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{options[-2]}" in err
    assert options[-1] in err


def test_figures_of_the_works_before_survive_one_that_fails(tmp_path: Path) -> None:
    def lossy(quick: bool) -> tuple[str, list[Contestant]]:
        return "A title", [Contestant("a", "a", 300, lambda records: Done(0, 0), trivial.expected)]

    figures = tmp_path / "figures.json"
    with pytest.raises(WrongWork):
        ask({"one": line_up_of("a"), "two": lossy}, ["--quick", "--json", str(figures)])
    assert list(json.loads(figures.read_text())["works"]) == ["one"]


def test_the_picture_of_a_work_has_its_name_at_the_end_of_its_own() -> None:
    assert each_work.picture_of("trivial", Path("figures", "rates.png")) == Path("figures", "rates_trivial.png")
