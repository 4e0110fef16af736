"""The questions about throughput run, check their contestants, and leave figures of the promised shape.

Times are not looked at.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as everything
from benchmarks import line_up, peers, work, work_cpu, work_lines
from benchmarks.measure import Contestant, Timing, WrongWork, interleaved
from benchmarks.rates import that_matter
from benchmarks.table import aligned
from benchmarks.workload import Chunks, Done, Workload, added_up, all_through, count_through

ROOT = Path(__file__).parents[2]
OURS = {"ours", "ours_async_feed", "ours_results"}
POOLS = {"executor", "executor_results", "executor_map", "pool", "pool_results", "pool_chunksize"}
ORIGINAL = {"original", "original_idle_tail"}
CONTESTANTS = {
    "overhead": OURS | POOLS | ORIGINAL | {"ours_chunk_feed", "plain", "hop"},
    "json_lines": OURS | POOLS | ORIGINAL | {"plain"},
    "computing": OURS | POOLS | {"plain", "hop"},
    "skewed": OURS | POOLS | {"plain"},
}
BOTH_FORMS = {"overhead", "json_lines"}


@dataclass(frozen=True)
class Asked:
    """What a question prints, where it leaves its figures, and what is in them."""

    question: str
    lines: list[str]
    place: Path
    found: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.found["contestants"]
        return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `python -m benchmarks --quick` leaves its figures for the four questions, and what it prints."""
    place = tmp_path_factory.mktemp("figures")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", *CONTESTANTS, "--out", str(place)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=55, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (place / "printed").write_text(done.stdout)
    return place


@pytest.fixture(params=list(CONTESTANTS))
def asked(place: Path, request: pytest.FixtureRequest) -> Asked:
    question: str = request.param
    parts = re.split(rf"^({'|'.join(CONTESTANTS)})$", (place / "printed").read_text(), flags=re.MULTILINE)
    lines = parts[parts.index(question) + 1].strip().splitlines()
    return Asked(question, lines, place, json.loads((place / f"{question}.json").read_text()))


@pytest.mark.process
def test_every_contestant_that_is_here_takes_every_record_through_the_steps(asked: Asked) -> None:
    third_party = {peer.key for peer in line_up.THIRD_PARTY if peer.is_there}
    if asked.question in BOTH_FORMS:
        third_party |= {f"{key}_results" for key in third_party}
    assert {row["key"] for row in asked.rows} == CONTESTANTS[asked.question] | third_party
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
    assert {row["key"] for row in tuned} == CONTESTANTS[asked.question] & {"executor", "hop"}
    for row in tuned:
        assert row["swept"][str(row["choice"])] == max(row["swept"].values())


@pytest.mark.process
def test_the_machine_is_named(asked: Asked) -> None:
    assert asked.found["quick"] is True
    assert asked.found["question"] == asked.question
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
    picture = (asked.place / f"{asked.question}.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 80_000


def test_every_question_is_asked_and_has_its_own_name() -> None:
    assert set(CONTESTANTS) < set(everything.QUESTIONS)
    assert {"arrays", "latency", "lag", "memory", "start", "scaling", "recovery", "torture"} < set(everything.QUESTIONS)


def test_a_question_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        everything.main(["--only", "nonsense"])
    assert "nonsense" in capsys.readouterr().err


WORKLOADS = {
    "trivial": (work.TRIVIAL, 2_000),
    "lines": (work_lines.LINES, 2_345),
    "even": (work_cpu.even_work(1e-6), 100),
    "skewed": (work_cpu.skewed_work(1e-6, 1e-4), 500),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_is_expected_is_what_the_steps_do(name: str) -> None:
    workload, records = WORKLOADS[name]
    before = workload.total()
    results = [_stepped(workload, record) for record in workload.feed(records)]
    assert workload.look(results) == workload.expected(records)._replace(in_order=True)
    assert workload.total() - before == workload.expected(records).checksum


@pytest.mark.parametrize("name", WORKLOADS)
async def test_both_feeds_are_the_same(name: str) -> None:
    workload, _ = WORKLOADS[name]
    assert [record async for record in workload.async_feed(25)] == list(workload.feed(25))


@pytest.mark.parametrize("name", WORKLOADS)
def test_chunks_by_hand_do_what_the_steps_do(name: str) -> None:
    workload, records = WORKLOADS[name]
    chunks = Chunks(workload.feed, records, 64)
    parts = [count_through(workload.through, workload.total, chunk) for chunk in chunks]
    assert len(parts) == len(chunks)
    assert added_up(parts) == workload.expected(records)
    results = [result for chunk in chunks for result in all_through(workload.through, chunk)]
    assert results == [_stepped(workload, record) for record in workload.feed(records)]


def _stepped(workload: Workload, record: Any) -> Any:
    for step in workload.steps:
        record, keep_going = step(record)
        assert keep_going
    return record


def test_results_out_of_order_are_seen() -> None:
    assert work.TRIVIAL.look([2, 4, 6]).in_order is True
    assert work.TRIVIAL.look([2, 6, 4]).in_order is False
    assert work.TRIVIAL.look([2, 2]).in_order is False


def test_lines_are_about_two_hundred_bytes() -> None:
    lengths = [len(line) for line in work_lines.feed(1_000)]
    assert 180 <= min(lengths) <= max(lengths) <= 220


def test_one_record_in_a_hundred_is_dear_and_not_each_hundredth() -> None:
    dear = [record for record in range(8_000) if work_cpu.is_dear(record)]
    assert [sum(record < n for record in dear) for n in (80, 2_000, 8_000)] == [1, 20, 80]
    assert len({after - before for before, after in pairwise(dear)}) > 40


def test_a_plain_loop_says_what_it_did() -> None:
    assert peers.plain_loop(work.TRIVIAL, 100) == work.expected(100)


def contestant(run: Any, records: int = 100, **more: Any) -> Contestant:
    return Contestant("t", "a contestant", records, run, work.expected, **more)


def test_a_contestant_that_loses_a_record_is_refused() -> None:
    with pytest.raises(WrongWork, match="a contestant"):
        interleaved([contestant(lambda records: work.expected(records - 1))], 1)


def test_a_contestant_that_changes_a_record_is_refused() -> None:
    with pytest.raises(WrongWork, match="a contestant"):
        interleaved([contestant(lambda records: Done(records, 1))], 1)


def test_a_contestant_that_should_keep_the_order_is_refused_when_it_does_not() -> None:
    def disordered(records: int) -> Done:
        return work.expected(records)._replace(in_order=False)

    with pytest.raises(WrongWork, match="order"):
        interleaved([contestant(disordered)], 1)
    assert len(interleaved([contestant(disordered, keeps_order=False)], 1)) == 1


def test_contestants_take_turns_and_the_first_is_not_always_the_same() -> None:
    calls: list[str] = []

    def named(name: str) -> Contestant:
        def run(records: int) -> Done:
            if records > 1:
                calls.append(name)
            return work.expected(records)

        return replace(contestant(run), key=name)

    interleaved([named("a"), named("b"), named("c")], 3)
    assert calls == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_a_knob_is_tried_twice_a_choice_on_a_part_and_the_best_try_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("benchmarks.measure.time.perf_counter", lambda: clock[0])
    tries = {1: [5.0, 5.0], 2: [9.0, 1.0], 3: [4.0, 4.0]}  # the second try of 2 is its best: noise hit the first
    asked_for: list[int] = []

    def run(records: int, choice: int) -> Done:
        asked_for.append(records)
        clock[0] += tries[choice].pop(0) if tries[choice] else 2.0
        return work.expected(records)

    (timing,) = interleaved([contestant(run, choices=(1, 2, 3), knob="size")], 2)
    assert timing.choice == 2
    assert timing.swept == {1: 5.0, 2: 25.0, 3: 6.25}
    assert timing.rates == [50.0, 50.0]
    assert asked_for == [25] * 6 + [1, 100] * 2


def test_ratios_that_matter_compare_the_same_with_the_same() -> None:
    def timing(key: str, kind: str, form: str, seconds: float) -> Timing:
        who = replace(contestant(work.expected), key=key, label=key, kind=kind, form=form)
        return Timing(who, work.expected(100), seconds=[seconds], start_seconds=[0.0])

    found = that_matter(
        [
            timing("ours", "ours", "counts", 1.0),
            timing("ours_results", "ours", "results", 2.0),
            timing("slow", "pool", "counts", 4.0),
            timing("fast", "pool", "counts", 3.0),
            timing("back", "pool", "results", 5.0),
            timing("peer", "peer", "results", 8.0),
            timing("plain", "plain", "counts", 2.0),
        ]
    )
    assert [(r.over, r.under, r.ratio) for r in found] == [
        ("ours", "fast", 3.0),
        ("ours_results", "back", 2.5),
        ("ours_results", "peer", 4.0),
        ("ours", "plain", 2.0),
        ("ours", "plain", 1.0),
    ]


def test_a_table_is_as_wide_as_its_widest_cells() -> None:
    table = aligned([["name", "n"], ["a long one", "1"], ["b", "1,000"]])
    assert table.splitlines() == [
        "| name       |     n |",
        "| :--------- | ----: |",
        "| a long one |     1 |",
        "| b          | 1,000 |",
    ]
