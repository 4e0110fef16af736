"""Runs mypy and pyright over files, and says in which lines of them each finds an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

Found = list[tuple[Path, int, str]]
"""File, line and message of each error."""

Checker = Callable[..., Found]


def by_mypy(*files: Path, mode: str = "strict") -> Found:
    """By mypy, which has but one way to be strict."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--output", "json", *map(str, files)]
    path = os.pathsep.join([str(ROOT), *sorted({str(file.parent) for file in files if not file.is_relative_to(ROOT)})])
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "MYPYPATH": path}, capture_output=True, text=True, check=False
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return _of(files, [(one["file"], one["line"], one["message"]) for one in found if one["severity"] == "error"])


def by_pyright(*files: Path, mode: str = "strict") -> Found:
    """By pyright."""
    place = Path(sys.prefix)
    config: dict[str, Any] = {
        "typeCheckingMode": mode,
        "include": [file.name for file in files],
        "extraPaths": [str(ROOT)],
        "pythonVersion": "3.11",
        "venvPath": str(place.parent),
        "venv": place.name,
    }
    (settings := files[0].with_name(f"pyright-{os.getpid()}.json")).write_text(json.dumps(config))
    try:
        command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(settings)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        settings.unlink()
    found = json.loads(ended.stdout)["generalDiagnostics"]
    errors = [one for one in found if one["severity"] == "error"]
    return _of(files, [(one["file"], one["range"]["start"]["line"] + 1, one["message"]) for one in errors])


def _of(files: tuple[Path, ...], found: list[tuple[str, int, str]]) -> Found:
    by_name = {file.name: file for file in files}
    return [(by_name[Path(name).name], line, text) for name, line, text in found if Path(name).name in by_name]


CHECKERS: dict[str, Checker] = {"mypy": by_mypy, "basedpyright": by_pyright}
