"""The page about clusters: what it shows is run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme.snippets import read_page
from tests.real.servers import missing

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "cluster.md"


@pytest.mark.process
def test_the_page_about_clusters(tmp_path: Path) -> None:
    if importlib.util.find_spec("distributed") is None:
        missing("distributed")
    (block,) = [block for block in read_page(PAGE.read_text("utf-8")).skipped if "executors/dask" in block.rest]
    script = tmp_path / "shown.py"
    script.write_text(block.text)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "delivered 1,000" in done.stdout
