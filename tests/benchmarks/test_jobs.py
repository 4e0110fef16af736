"""The question about jobs, asked in a hurry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.jobs import LABELS
from tests.benchmarks import SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_every_way_is_measured(tmp_path: Path) -> None:
    figures = tmp_path / "jobs.json"
    command = [sys.executable, "-m", "benchmarks.jobs", "--quick", "--json", str(figures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())["ways"]
    assert [way["key"] for way in found] == list(LABELS)
    assert all(way["rate"]["median"] > 0 and way["label"] in done.stdout for way in found)
