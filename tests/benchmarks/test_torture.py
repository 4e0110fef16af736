"""The torture table runs, leaves figures of the promised shape.

Of the peers nothing is asserted: what they do today is theirs to change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.torture import words
from benchmarks.torturing.cage import Cell
from benchmarks.torturing.contestants import CONTESTANTS
from benchmarks.torturing.faults import FAULTS

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
