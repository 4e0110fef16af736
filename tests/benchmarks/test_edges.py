"""The question about sources, asked in a hurry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import SECONDS

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="its servers come for Linux")]


def test_every_source_is_read_by_ours_and_by_hand(tmp_path: Path) -> None:
    figures = tmp_path / "edges.json"
    command = [sys.executable, "-m", "benchmarks.edges", "--quick", "--json", str(figures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())["sources"]
    assert [source["key"] for source in found] == ["files", "redis", "nats", "kafka", "postgres"]
    for source in found:
        assert (source["ours"] is None) == (source["key"] == "kafka")
        assert all(source[way]["median"] > 0 for way in ("ours", "by_hand", "loop") if source[way])
        assert (source["loop"] is None) == (source["key"] == "files")
        assert source["label"] in done.stdout
