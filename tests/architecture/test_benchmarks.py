"""The house of the benchmarks: questions at the top, what they are made of in folders, and no import in a circle."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

import benchmarks
from tests.architecture.imports import Import, import_cycle, imports_in, room_of

NAME = "benchmarks"
PACKAGE = Path(benchmarks.__file__).parent

FOLDERS: Final[Mapping[str, set[str]]] = {
    "works": set(),
    "contestants": {"works"},
    "asking": {"works", "contestants"},
    "cells": {"works", "contestants", "asking"},
    "scales": {"works", "contestants", "asking"},
    "torturing": {"works", "contestants", "asking"},
}
"""Which folders each may import, itself apart. Questions import any, and nobody imports a question."""


def no_questions(package: Path) -> list[str]:
    """Files at the top that are no question: without `QUESTION`, which is their name, or without `main`."""
    files = [path for path in sorted(package.glob("*.py")) if path.stem not in ("__init__", "__main__")]
    return [path.name for path in files if not _is_question(path)]


def _is_question(path: Path) -> bool:
    tree = ast.parse(path.read_text("utf-8"))
    names = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "QUESTION"
        if isinstance(node.value, ast.Constant)
    ]
    return names == [path.stem] and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def climbing(imports: Sequence[Import], package: str) -> list[str]:
    """Imports that a folder may not do, as `file:line: who imports whom`."""
    return [
        f"{found.place}: {room_of(found.importer, package)} may not import {found.target}"
        for found in imports
        if (may := FOLDERS.get(room := room_of(found.importer, package))) is not None
        if found.target.startswith(f"{package}.") and room_of(found.target, package) not in may | {room}
    ]


def test_no_import_leads_back_to_itself() -> None:
    cycle = import_cycle(imports_in(PACKAGE), NAME)
    assert cycle is None, f"imports in a circle:\n{cycle}"


def test_the_files_at_the_top_are_questions() -> None:
    assert no_questions(PACKAGE) == []


def test_folders_import_only_what_stands_below_them() -> None:
    broken = climbing(imports_in(PACKAGE), NAME)
    assert not broken, "\n".join(broken)


def test_every_folder_is_in_the_table() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(FOLDERS)


# The rules themselves, on small trees that break them.


def tree(root: Path, **sources: str) -> Path:
    """A package `pkg`; `a__b` is the module `a.b`."""
    for name, source in {"__init__": "", "__main__": "", **sources}.items():
        path = root / "pkg" / (name if name.startswith("__") else name.replace("__", "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(source)
    return root / "pkg"


@pytest.mark.parametrize(
    "source",
    ["", "QUESTION = 'other'\ndef main(): ...\n", "QUESTION = 'rates'\n", "def main(): ...\n"],
    ids=["empty", "another's name", "no main", "no name"],
)
def test_a_file_at_the_top_that_is_no_question_is_found(source: str, tmp_path: Path) -> None:
    package = tree(tmp_path, rates=source, works__rows="", speed="QUESTION = 'speed'\ndef main(argv=None): ...\n")
    assert no_questions(package) == ["rates.py"]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("pkg.works.other", []),
        ("json", []),
        ("pkg.asking.rates", ["pkg/works/rows.py:1: works may not import pkg.asking.rates"]),
        ("pkg.speed", ["pkg/works/rows.py:1: works may not import pkg.speed"]),
    ],
)
def test_a_folder_that_imports_what_stands_above_it_is_found(target: str, found: list[str], tmp_path: Path) -> None:
    package = tree(tmp_path, works__rows=f"import {target}\n", speed="import pkg.works.rows\nimport pkg.asking.rates\n")
    assert climbing(imports_in(package), "pkg") == found


def test_a_circle_is_found_where_a_module_is_imported_by_name(tmp_path: Path) -> None:
    package = tree(
        tmp_path,
        cells__one="def way():\n    return import_module('pkg.cells.two')\n",
        cells__two="from pkg.cells.one import way\n",
    )
    cycle = import_cycle(imports_in(package), "pkg")
    assert cycle is not None
    assert "pkg/cells/one.py:2: pkg.cells.one imports pkg.cells.two" in cycle.splitlines()
