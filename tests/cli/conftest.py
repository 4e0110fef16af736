"""Modules of pipelines for the command line to find, and the command line itself, in this process or its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeframe_async.cli.program import program

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended."""

    code: int
    out: str
    err: str


Pipeframe = Callable[..., Ending]


@pytest.fixture
def pipeframe(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Pipeframe]:
    """Run a command in this process; what it puts on the module path is taken back, its new files are the test's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "120")
    before = set(sys.modules)

    def run(*arguments: str | Path) -> Ending:
        code = program([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ending(code, out, err)

    yield run
    for name in set(sys.modules) - before:
        if name.startswith("app"):
            del sys.modules[name]


def in_its_own_process(place: Path, *arguments: str, python: tuple[str, ...] = ("-m", "pipeframe_async")) -> Ending:
    """Run a command as a user does, with `place` as the working directory."""
    out, err = place / "stdout.txt", place / "stderr.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        done = subprocess.run(
            [sys.executable, *python, *arguments],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TMPDIR": str(place)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=40,
            check=False,
        )
    return Ending(done.returncode, out.read_text("utf-8"), err.read_text("utf-8"))


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    """A directory of the user's, with one module."""
    place = tmp_path / "app_dir"
    place.mkdir(mode=0o755)
    (place / "app.py").write_text((Path(__file__).parent / "app_source.py").read_text("utf-8"), "utf-8")
    return place
