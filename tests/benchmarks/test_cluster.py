"""The question about clusters runs, and its figures have the promised shape. Times are not looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="no distributed is here")

from benchmarks import cluster

pytestmark = [pytest.mark.process, pytest.mark.cluster]


def test_everybody_does_the_work_on_a_cluster_and_what_it_costs_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.main(["--quick", "--json", str(tmp_path / "figures.json")])
    found = json.loads((tmp_path / "figures.json").read_text())
    assert len(found["rates"]) == 2
    for rows in found["rates"].values():
        assert [row["key"] for row in rows] == ["there", "here", "by_hand"]
        assert all(row["rate"] > 0 for row in rows)
    assert all(min(pair) > 0 for pair in found["cpu_a_batch"].values())
    assert found["fed"].keys() == {str(lanes) for lanes in cluster.QUICK_LANES}
    assert len(found["scheduler_bytes"]) == 1 + cluster.LOOKS
    assert found["calls"]["n"] == cluster.QUICK_CALLS
    assert "client.submit, chunked" in capsys.readouterr().out
