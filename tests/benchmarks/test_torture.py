"""The torture table runs, leaves figures of the promised shape, and its cage counts and ends what it should.

Of the peers nothing is asserted: what they do today is theirs to change.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.torture import words
from benchmarks.torture_cage import TAG_NAME, Cell, Plan, cell, tagged
from benchmarks.torture_contestants import CONTESTANTS
from benchmarks.torture_faults import BAD, FAULTS, each, fail
from benchmarks.torture_job import Job, Told

ROOT = Path(__file__).parents[2]
ABOUT_RECORDS = ["kill", "raise", "hang", "unpicklable"]
ABOUT_THE_SCRIPT = ["sigterm", "sigkill"]
KIND = {"kill": "crashed", "raise": "raised", "hang": "timeout", "unpicklable": "unpicklable"}
OURS = [key for key, contestant in CONTESTANTS.items() if contestant.ours]
ENOUGH = Cell("somebody", "kill", 999, 999, 0, hung=False, orphans=0, saw="a word", signalled=False, seconds=1.0)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left behind is found in /proc")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `python -m benchmarks.torture --quick` prints, and where it leaves its figures."""
    place = tmp_path_factory.mktemp("torture")
    command = [sys.executable, "-m", "benchmarks.torture", "--quick", "--json", str(place / "torture.json")]
    command += ["--plot", str(place / "torture.png")] if find_spec("matplotlib") else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=110, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, place


@pytest.fixture
def found(asked: tuple[str, Path]) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((asked[1] / "torture.json").read_text())
    return figures


@pytest.fixture
def cells(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(cell["contestant"], cell["fault"]): cell for cell in found["cells"]}


@pytest.mark.process
@pytest.mark.timeout(120)
def test_every_contestant_that_is_here_meets_every_fault(
    found: dict[str, Any], cells: dict[tuple[str, str], dict[str, Any]]
) -> None:
    here = {key for key, contestant in CONTESTANTS.items() if contestant.is_there}
    assert {"executor_map", "executor_by_hand", "pool_imap", "pool_by_hand", *OURS} <= here
    assert {row["key"] for row in found["contestants"]} == here
    assert set(cells) == {(contestant, fault) for contestant in here for fault in FAULTS}
    for (_, fault), became in cells.items():
        assert 0 <= became["delivered"] <= became["expected"] == found["records"] - (fault in ABOUT_RECORDS)


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ABOUT_RECORDS)
@pytest.mark.parametrize("contestant", OURS)
def test_ours_loses_no_record_but_the_bad_one(
    cells: dict[tuple[str, str], dict[str, Any]], contestant: str, fault: str
) -> None:
    became = cells[contestant, fault]
    assert became["delivered"] == became["expected"]
    assert became["repeated"] == 0
    assert not became["hung"]
    assert became["orphans"] == 0
    assert became["saw"] == f"1 × Failure({KIND[fault]})"


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ABOUT_THE_SCRIPT)
@pytest.mark.parametrize("contestant", OURS)
def test_ours_leaves_nobody_behind(cells: dict[tuple[str, str], dict[str, Any]], contestant: str, fault: str) -> None:
    became = cells[contestant, fault]
    assert became["signalled"]
    assert not became["hung"]
    assert became["orphans"] == 0


@pytest.mark.process
@pytest.mark.timeout(120)
def test_the_table_has_a_line_for_each_contestant(asked: tuple[str, Path], found: dict[str, Any]) -> None:
    lines = asked[0].splitlines()
    for row in found["contestants"]:
        assert any(line.startswith(f"| {row['label']} ") and f" {row['batches']} |" in line for line in lines), row


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is in the extra 'bench'")
def test_the_picture_is_small(asked: tuple[str, Path]) -> None:
    picture = (asked[1] / "torture.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 120_000


@pytest.mark.process
def test_a_script_that_hangs_is_given_up_and_ended_with_its_workers() -> None:
    became = cell("executor_by_hand", FAULTS["hang"], Plan(records=64, batch_size=8, limit=5.0))
    assert became.hung
    assert became.orphans is None
    assert became.delivered == 56  # all batches but that of the bad record: the log survives its writer
    assert became.seconds >= 5.0


def test_a_process_is_found_by_its_tag_and_by_no_other() -> None:
    environment = {**os.environ, TAG_NAME: "here"}
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], env=environment, stdin=subprocess.PIPE) as child:
        while not tagged("here"):  # between fork and exec it still has our environment
            time.sleep(0.01)
        assert tagged("here") == [child.pid]
        assert tagged("her") == []
        child.send_signal(signal.SIGKILL)
    assert tagged("here") == []


def test_a_bad_record_among_a_batch_cut_by_hand_costs_itself() -> None:
    (first, no_error), (nothing, error), last = each(fail, [7, BAD, 8])
    assert (first, no_error, last) == (7, None, (8, None))
    assert nothing is None
    assert isinstance(error, ValueError)


def test_the_bad_record_is_inside_a_batch_in_the_middle_of_the_work(tmp_path: Path) -> None:
    with Job(FAULTS["kill"], 1_000, 64, tmp_path / "log") as job:
        batches = list(job.batches())
    assert [BAD in batch for batch in batches].index(True) == 7
    assert batches[7].index(BAD) == 52
    assert sum(map(len, batches)) == 1_000


def test_nobody_is_bad_where_the_script_gets_a_signal(tmp_path: Path) -> None:
    with Job(FAULTS["sigterm"], 10, 4, tmp_path / "log") as job:
        assert job.records == list(range(10))


def test_a_log_tells_what_became_of_the_work(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Job(FAULTS["raise"], 10, 4, log) as job:
        job.take([(1, None), (2, None), (None, ValueError("bad"))])
        job.deliver(1)
        job.failed("Failure(crashed)")
        job.logged()
        job.raised(RuntimeError("over"))
    told = Told.in_log(log)
    assert told.delivered == {1: 2, 2: 1}
    assert told.words == ["1 × ValueError", "1 × Failure(crashed)", "RuntimeError raised", "1 logged"]


def test_a_line_that_a_death_has_cut_short_is_not_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("delivered 1\ndelivered 2")
    assert Told.in_log(log).delivered == {1: 1}
    assert Told.in_log(tmp_path / "never begun") == Told()


@pytest.mark.parametrize(
    ("became", "expected"),
    [
        (ENOUGH, "999"),
        (replace(ENOUGH, delivered=936, hung=True, orphans=None, saw=""), "936, hung"),
        (replace(ENOUGH, orphans=2, repeated=3), "999, 2 left, 3 twice"),
        (replace(ENOUGH, saw=""), "999, unsaid"),
    ],
)
def test_a_cell_says_what_is_wrong_with_it(became: Cell, expected: str) -> None:
    assert words(became, FAULTS["kill"]) == expected


@pytest.mark.parametrize(
    ("became", "expected"),
    [
        (replace(ENOUGH, signalled=True, delivered=100), "none left"),
        (replace(ENOUGH, signalled=True, orphans=2), "2 left"),
        (replace(ENOUGH, signalled=True, orphans=None, hung=True), "hung"),
        (replace(ENOUGH, signalled=False), "ended before"),
    ],
)
def test_a_cell_with_a_signal_says_what_is_left(became: Cell, expected: str) -> None:
    assert words(became, FAULTS["sigterm"]) == expected
