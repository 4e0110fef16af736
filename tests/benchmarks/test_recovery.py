"""The recovery benchmark runs, and its figures have the promised shape. Times are not looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import recovery


@pytest.mark.process
def test_every_death_is_timed_with_every_start_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recovery.main(["--quick", "--json", str(tmp_path / "figures.json")])
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["seconds"].keys() == {"forkserver", "spawn"}
    for by in found["seconds"].values():
        assert by.keys() == recovery.LABELS.keys()
        assert all(len(times) == 3 and min(map(min, times)) > 0 for times in by.values())
    assert capsys.readouterr().out.count("\n| ") == 2 + 2 * len(recovery.LABELS)
