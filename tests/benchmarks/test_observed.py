"""The question about log lines, asked in a hurry: each line comes, in order, or there is no answer."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from benchmarks import observed
from benchmarks.asking.measure import WrongWork
from benchmarks.cells.observed import Takes


@pytest.mark.process
def test_each_row_is_measured_and_no_line_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    observed.main(["--quick", "--json", str(tmp_path / "figures.json")])
    found = json.loads((tmp_path / "figures.json").read_text())
    assert [row["label"] for row in found["through"]] == [*observed.THROUGH]
    assert [row["lines"] for row in found["beside"]] == [0, 0, 1_000]
    assert found["through"][0]["ratio"]["median"] == 1
    assert capsys.readouterr().out.count("\n| ") == 4 + len(observed.THROUGH) + len(observed.BESIDE)


def test_a_line_that_is_lost_or_out_of_order_is_no_answer() -> None:
    taken = Takes()
    for created in (2.0, 1.0):
        record = logging.makeLogRecord({"msg": "line", "created": created, "process": 1})
        taken.handle(record)
    with pytest.raises(WrongWork, match="2 lines of 3, 1 out of order"):
        observed._check("it", taken, 3, whole=True)
