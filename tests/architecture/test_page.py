"""`docs/architecture.md` names what there is: every inner module once, and no place that is not there."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import pipeframe_async

PACKAGE = Path(pipeframe_async.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOMS = ("_rules", "_engine", "_worker", "executors")


def section(title: str, text: str) -> str:
    """What stands below a heading, up to the next one that is as high or higher."""
    level = title.split(" ")[0]
    below = text.split(f"\n{title}\n", 1)[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", below)[0]


def wrong(named: Counter[str], there: set[str]) -> dict[str, list[str]]:
    """What a page does not name, names without need, or twice."""
    found = {
        "not named": sorted(there - set(named)),
        "not there": sorted(set(named) - there),
        "twice": [name for name, times in named.items() if times > 1],
    }
    return {what: names for what, names in found.items() if names}


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_names_every_module_of_a_room_once(room: str) -> None:
    rows = section(f"### `{room}`", section("## Map", PAGE))
    named = Counter(re.findall(r"^\| `([\w/]+\.py)` \|", rows, re.MULTILINE))
    there = {
        path.relative_to(PACKAGE / room).as_posix()
        for path in (PACKAGE / room).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert wrong(named, there) == {}


COVERAGE = (Path(__file__).parents[2] / "docs" / "coverage.md").read_text(encoding="utf-8")


def test_the_page_on_coverage_names_every_inner_module_once() -> None:
    named = Counter(
        f"{room}/{module}.py"
        for rooms, modules in re.findall(r"^\| ([^|]+) \| ([^|]+) \| \d+ % \|", COVERAGE, re.MULTILINE)
        for room in re.findall(r"`([\w/]+)`", rooms)
        for module in re.findall(r"`([\w/]+)`", modules)
        if room.startswith(ROOMS)
    )
    there = {
        path.relative_to(PACKAGE).as_posix()
        for room in ROOMS
        for path in (PACKAGE / room).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert wrong(named, there) == {}


PLACES = sorted(set(re.findall(r"`([\w/]+\.py):([\w.]+)`", section("## Walks", PAGE))))


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_the_walks_pass_places_that_are_there(file: str, name: str) -> None:
    tree: ast.AST = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for part in name.split("."):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in ast.iter_child_nodes(tree) if isinstance(node, kinds) and node.name == part]
        assert found, f"{file} has no {name}"
        tree = found[0]
