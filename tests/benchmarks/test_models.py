"""The question about models: all are asked for the same classes, and those in another order are found out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is in the extra 'bench'")

from benchmarks.works import models
from tests.benchmarks import SECONDS

ROOT = Path(__file__).parents[2]


def test_classes_in_another_order_add_up_to_something_else() -> None:
    classes = models.predict([*models.feed(50)])
    assert models.look(classes) == models.expected(50)
    assert models.look(reversed(classes)) != models.expected(50)
    assert [models.predict_one(row) for row in models.feed(5)] == classes[:5]


def test_rows_come_again_and_so_do_their_classes() -> None:
    count = models.ROWS + 3
    assert models.look(models.predict([*models.feed(count)])) == models.expected(count)


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_every_contestant_finds_the_classes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.models", "--quick", "--json", str(tmp_path / "found.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert {"ours", "executor", "plain", "ours_one_by_one"} <= {row["key"] for row in found["contestants"]}
    assert "ours, vectorize / ours, a step for each row" in done.stdout
