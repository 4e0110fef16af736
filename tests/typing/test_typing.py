"""The public types carry through what a user writes, and refuse what is wrong: by mypy and pyright, both strict."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def by_mypy(file: Path) -> set[int]:
    """The lines with errors."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--output", "json", str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode in (0, 1), ended.stderr
    return {one["line"] for one in found if one["severity"] == "error" and Path(one["file"]).name == file.name}


def by_pyright(file: Path) -> set[int]:
    """The same by pyright; lines count from 0 there."""
    place = Path(sys.prefix)
    config = {
        "typeCheckingMode": "strict",
        "include": [file.name],
        "pythonVersion": "3.11",
        "venvPath": str(place.parent),
        "venv": place.name,
    }
    settings = HERE / "pyright.json"
    settings.write_text(json.dumps(config))
    try:
        command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(settings)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        settings.unlink()
    found = json.loads(ended.stdout)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"}


CHECKERS = {"mypy": by_mypy, "basedpyright": by_pyright}


@pytest.fixture(params=CHECKERS)
def checked(request: pytest.FixtureRequest) -> Callable[[Path], set[int]]:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} comes with the dev extra, and .ci/run has it")
    return CHECKERS[request.param]


@pytest.mark.timeout(180)
def test_what_a_user_writes_is_right(checked: Callable[[Path], set[int]]) -> None:
    assert checked(HERE / "user.py") == set()


@pytest.mark.timeout(180)
def test_what_a_user_gets_wrong_is_told_where_it_is(checked: Callable[[Path], set[int]]) -> None:
    lines = (HERE / "wrong.py").read_text("utf-8").splitlines()
    assert checked(HERE / "wrong.py") == {number for number, line in enumerate(lines, 1) if "# wrong:" in line}
