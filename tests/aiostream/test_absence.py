"""The package works where there is no aiostream, and never asks for it where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.imports import imports_in

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]

REFUSAL = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "aiostream":
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.meta_path.insert(0, Refuses())
"""

REFUSED = """
try:
    import aiostream
except ModuleNotFoundError:
    print("refused")
"""

IMPORT_ALL = """
import importlib, pkgutil, sys
import pipeframe_async

for module in pkgutil.walk_packages(pipeframe_async.__path__, "pipeframe_async."):
    importlib.import_module(module.name)
print(len([name for name in sys.modules if name.partition(".")[0] == "aiostream"]), "modules of aiostream")
"""

RUN = """
import asyncio, sys
from pipeframe_async import PipeFrame, PipelineEngine, run

def with_its_modules(number):
    return (number, sorted(name for name in sys.modules if name.partition(".")[0] == "aiostream")), True

class Numbers(PipelineEngine):
    steps = [with_its_modules]
    source = "stream"

    def __init__(self):
        self.taken = []

    async def feed(self):
        for number in range(100):
            yield number

    async def sink(self, records):
        self.taken += records

class Lookalike:
    def __aiter__(self):
        raise AssertionError("iterated without its context")

    def stream(self):
        return Streamer()

class Streamer:
    def __init__(self):
        self.numbers = iter(range(3))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        print("closed")

    async def aclose(self):
        await self.__aexit__(None, None, None)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for number in self.numbers:
            return number
        raise StopAsyncIteration

numbers = Numbers()
assert run(numbers, cpu_count=1).delivered == 100
assert numbers.taken == [(number, []) for number in range(100)], numbers.taken

async def main():
    async with PipeFrame(executor="inline").stream(Numbers, Lookalike()) as results:
        return [number async for number, _ in results]

print(asyncio.run(main()))
"""


def run(place: Path, script: str) -> list[str]:
    """The lines that Python prints; they go to a file, since a worker that stays would hold a pipe open."""
    output = place / "output.txt"
    with output.open("wb") as stream:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=50,
            check=False,
        )
    written = output.read_text("utf-8")
    assert done.returncode == 0, written
    return written.splitlines()


def test_the_refusal_refuses(tmp_path: Path) -> None:
    assert run(tmp_path, REFUSAL + REFUSED) == ["refused"]
    assert run(tmp_path, REFUSED) == []


def test_every_module_imports_where_aiostream_cannot_be_imported(tmp_path: Path) -> None:
    assert run(tmp_path, REFUSAL + IMPORT_ALL) == ["0 modules of aiostream"]


def test_no_module_imports_aiostream_where_it_could_be(tmp_path: Path) -> None:
    assert run(tmp_path, IMPORT_ALL) == ["0 modules of aiostream"]


def test_runs_work_and_streams_are_known_where_aiostream_cannot_be_imported(tmp_path: Path) -> None:
    assert run(tmp_path, REFUSAL + RUN) == ["closed", "[0, 1, 2]"]


def imports_of_aiostream(package: Path) -> list[str]:
    return [found.place for found in imports_in(package) if found.target.partition(".")[0] == "aiostream"]


def test_no_source_of_the_package_imports_aiostream() -> None:
    assert len(imports_in(ROOT / "pipeframe_async")) > 100
    assert imports_of_aiostream(ROOT / "pipeframe_async") == []


@pytest.mark.parametrize(
    "source",
    [
        "import aiostream",
        "import os, aiostream.stream as s",
        "from aiostream import stream",
        "def late():\n    from aiostream.core import Stream",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import aiostream",
        "try:\n    import aiostream\nexcept ImportError:\n    pass",
        "import importlib\nimportlib.import_module('aiostream')",
    ],
)
def test_an_import_of_aiostream_would_be_found(source: str, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text(source)
    assert len(imports_of_aiostream(tmp_path / "pkg")) == 1


def test_aiostream_is_an_extra_and_in_the_tests_and_no_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {
        name
        for name, requirements in project["optional-dependencies"].items()
        if any(requirement.startswith("aiostream") for requirement in requirements)
    }
    assert not any("aiostream" in requirement for requirement in project["dependencies"])
    assert extras == {"aiostream", "test"}
    assert project["license"] == "Apache-2.0"
