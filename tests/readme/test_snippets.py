"""Every python block and every pipeframe command of README and docs runs, as a reader would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme.snippets import Command, Page, Script, pages, read_page

ROOT = Path(__file__).parents[2]
PAGES: dict[str, Page] = {str(path.relative_to(ROOT)): read_page(path.read_text("utf-8")) for path in pages(ROOT)}

APART = {name: page for name, page in PAGES.items() if not page.one_folder}
"""Pages whose blocks are run each in a folder of its own."""

MAX_SKIPPED = 3
"""Blocks in all. Each is a promise that nothing checks."""

TIMEOUT = 50.0
"""Seconds for one block, below the limit of a test, so that what it printed is shown."""


def run(arguments: list[str], place: Path, shown_as: str) -> None:
    """Run Python as a user would and fail with all it printed.

    Output goes to a file: a pipe would keep us waiting for a worker that should be gone.
    """
    output = place / "output.txt"
    with output.open("w") as stream:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
    assert done.returncode == 0, f"{shown_as} ended with {done.returncode}:\n{output.read_text(errors='replace')}"


def write_scripts(page: Page, place: Path) -> None:
    for script in page.scripts:
        if script.name:
            (place / script.name).write_text(script.text, "utf-8")


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "script"),
    [pytest.param(name, script, id=f"{name}:{script.line}") for name, page in APART.items() for script in page.scripts],
)
def test_a_python_block_runs(name: str, script: Script, tmp_path: Path) -> None:
    write_scripts(PAGES[name], tmp_path)
    path = tmp_path / (script.name or "snippet.py")
    path.write_text(script.text, "utf-8")
    run([path.name], tmp_path, f"{name}:{script.line}")


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "command"),
    [
        pytest.param(name, command, id=f"{name}:{command.line}")
        for name, page in APART.items()
        for command in page.commands
    ],
)
def test_a_command_runs(name: str, command: Command, tmp_path: Path) -> None:
    write_scripts(PAGES[name], tmp_path)
    run(["-m", "pipeframe_async", *command.arguments], tmp_path, f"{name}:{command.line}")


@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", sorted(PAGES.keys() - APART.keys()))
def test_a_page_of_one_folder_runs_from_its_top_to_its_end(name: str, tmp_path: Path) -> None:
    for shown in PAGES[name].in_order():
        if isinstance(shown, Command):
            run(["-m", "pipeframe_async", *shown.arguments], tmp_path, f"{name}:{shown.line}")
        else:
            path = tmp_path / (shown.name or "snippet.py")
            path.write_text(shown.text, "utf-8")
            run([path.name], tmp_path, f"{name}:{shown.line}")


def test_few_blocks_are_skipped() -> None:
    with_servers = (ROOT / "tests" / "real" / "test_pages.py").read_text("utf-8")
    skipped = [
        f"{name}:{block.line}: {block.rest}"
        for name, page in PAGES.items()
        for block in page.skipped
        if f'shown("{Path(name).name}"' not in with_servers
    ]
    assert len(skipped) <= MAX_SKIPPED, "\n".join(skipped)
