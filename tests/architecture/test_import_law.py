"""The import law: each room imports only what its row of the table allows, and nothing imports in circles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pipeframe_async
from tests.architecture.imports import Import, Room, broken_laws, import_cycle, imports_in
from tests.architecture.rooms import ROOMS

NAME = "pipeframe_async"
PACKAGE = Path(pipeframe_async.__file__).parent
STANDARD = frozenset(sys.stdlib_module_names)


def test_every_import_is_allowed_by_the_table_of_rooms() -> None:
    broken = broken_laws(imports_in(PACKAGE), ROOMS, NAME, STANDARD)
    assert not broken, "\n".join(["the import law is broken:", *broken])


def test_no_import_leads_back_to_itself() -> None:
    cycle = import_cycle(imports_in(PACKAGE), NAME)
    assert cycle is None, f"imports in a circle:\n{cycle}"


def test_every_row_of_the_table_names_rooms_that_have_a_row() -> None:
    assert {name: row.ours - set(ROOMS) for name, row in ROOMS.items() if row.ours - set(ROOMS)} == {}


EXTRAS = {
    *(
        "aiokafka",
        "aiostream",
        "backports.zstd",
        "click",
        "distributed",
        "matplotlib",
        "nats",
        "obstore",
        "opentelemetry",
    ),
    *("prometheus_client", "psycopg", "pyarrow", "redis", "rich", "starlette", "tenacity", "uvicorn", "uvloop"),
}
OUTER = {
    f"{NAME}.{room}"
    for room in ("cli", "feeds", "sinks", "servers", "testing", "observe.bar", "observe.monitor.server")
}
"""What a program pays for that uses it."""


@pytest.mark.parametrize(
    ("module", "never"),
    [
        (f"{NAME}.pipeline_engine", EXTRAS | {"asyncio", "multiprocessing", "concurrent.futures"}),
        (f"{NAME}.steps", EXTRAS | {"asyncio", "multiprocessing", "concurrent.futures"}),
        (f"{NAME}._worker.envelope", EXTRAS | {"asyncio", "concurrent.futures", "cloudpickle"}),
        (f"{NAME}.frame", EXTRAS | OUTER),
        (f"{NAME}.script", EXTRAS | OUTER),
    ],
)
def test_importing_a_module_does_not_load_what_it_need_not(module: str, never: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({never!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


def test_importing_the_package_loads_nothing_but_its_door() -> None:
    """Over asyncio, which who imports it has. Speed is not asked for: what is not loaded takes no time."""
    code = f"import asyncio, sys; before = {{*sys.modules}}; import {NAME}; print(*sorted({{*sys.modules}} - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert set(run.stdout.split()) - {"__future__"} == {NAME}, run.stderr


def test_the_public_names_load_no_extra_and_no_edge_that_is_not_used() -> None:
    code = f"import sys; from {NAME} import *; print(*sorted({EXTRAS | OUTER!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


# The law itself, on small trees that break it.

LAW = {
    "__init__": Room(ours=frozenset({"words", "front"})),
    "words": Room(never=frozenset({"asyncio"})),
    "_rules": Room(ours=frozenset({"words"})),
    "front": Room(ours=frozenset({"words", "_rules"}), outside=frozenset({"click"})),
}


def tree(root: Path, **sources: str) -> Path:
    """A package `pkg`; `a__b` is the module `a.b`. What is not given is empty."""
    package = root / "pkg"
    for name, source in {"__init__": "", "words": "", "_rules__one": "", "front": "", **sources}.items():
        path = package.joinpath(*name.split("__")) if "__" in name.strip("_") else package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(source)
    (package / "_rules" / "__init__.py").touch()
    return package


def broken(package: Path) -> list[str]:
    return broken_laws(imports_in(package), LAW, "pkg", STANDARD)


def test_a_lawful_tree_has_no_breaks(tmp_path: Path) -> None:
    package = tree(
        tmp_path,
        front="import click\nfrom pkg import words\nfrom pkg._rules import one\nimport asyncio\n",
        _rules__one="from pkg._rules import two\nfrom ..words import Name\n",
        _rules__two="import json\n",
    )
    assert broken(package) == []
    assert import_cycle(imports_in(package), "pkg") is None


@pytest.mark.parametrize(
    "source",
    [
        "import pkg.front",
        "import os, pkg.front as f",
        "from pkg import front",
        "from pkg.front import main",
        "from .. import front",
        "from ..front import main",
        "import importlib; importlib.import_module('pkg.front')",
        "front = __import__('pkg.front')",
    ],
)
def test_every_way_to_import_a_forbidden_room_is_found(source: str, tmp_path: Path) -> None:
    assert broken(tree(tmp_path, _rules__one=f"\n{source}\n")) == [
        "pkg/_rules/one.py:2: _rules may not import front (pkg.front)"
    ]


def test_an_import_inside_a_function_is_found_with_its_line(tmp_path: Path) -> None:
    source = "def late():\n    if True:\n        from pkg.front import main\n        return main\n"
    assert broken(tree(tmp_path, words=source)) == ["pkg/words.py:3: words may not import front (pkg.front)"]


def test_an_import_for_the_type_checker_breaks_the_layers_too(tmp_path: Path) -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.front import main\n"
    assert broken(tree(tmp_path, words=source)) == ["pkg/words.py:3: words may not import front (pkg.front)"]


def test_a_module_of_python_that_the_room_must_not_know_is_found(tmp_path: Path) -> None:
    source = "import asyncio.events\nfrom asyncio import sleep\n"
    assert broken(tree(tmp_path, words=source)) == [
        "pkg/words.py:1: words must not know asyncio",
        "pkg/words.py:2: words must not know asyncio",
    ]


def test_a_package_from_elsewhere_is_found(tmp_path: Path) -> None:
    assert broken(tree(tmp_path, _rules__one="import click.core\n")) == [
        "pkg/_rules/one.py:1: _rules may not import click, which is no part of Python"
    ]


def test_the_root_is_a_room_of_its_own(tmp_path: Path) -> None:
    assert broken(tree(tmp_path, _rules__one="from pkg import Name\n")) == [
        "pkg/_rules/one.py:1: _rules may not import __init__ (pkg)"
    ]


def test_a_module_without_a_room_is_found(tmp_path: Path) -> None:
    assert broken(tree(tmp_path, helpers="import os\n")) == [
        "pkg/helpers.py:1: helpers is in no row of the table of rooms"
    ]


def test_a_cycle_is_shown_link_by_link(tmp_path: Path) -> None:
    package = tree(
        tmp_path,
        front="from pkg._rules import one\n",
        _rules__one="import json\nfrom pkg._rules import two\n",
        _rules__two="def late():\n    import pkg.front\n",
    )
    cycle = import_cycle(imports_in(package), "pkg")
    assert cycle is not None
    assert set(cycle.splitlines()) == {
        "pkg/front.py:1: pkg.front imports pkg._rules.one",
        "pkg/_rules/one.py:2: pkg._rules.one imports pkg._rules.two",
        "pkg/_rules/two.py:2: pkg._rules.two imports pkg.front",
    }


def test_an_import_for_the_type_checker_makes_no_cycle(tmp_path: Path) -> None:
    package = tree(
        tmp_path,
        front="import pkg.words\n",
        words="import typing\nif typing.TYPE_CHECKING:\n    import pkg.front\nelse:\n    import os\n",
    )
    imports = imports_in(package)
    assert import_cycle(imports, "pkg") is None
    assert Import("pkg.words", "pkg.front", "pkg/words.py:3", typing_only=True) in imports
    assert Import("pkg.words", "os", "pkg/words.py:5") in imports


def test_a_room_inside_a_room_has_a_law_of_its_own(tmp_path: Path) -> None:
    law = {
        **LAW,
        "front": Room(ours=frozenset({"words"})),
        "front.left": Room(ours=frozenset({"front.ground"})),
        "front.right": Room(),
        "front.ground": Room(),
    }
    package = tree(
        tmp_path,
        front__left__one="from pkg.front import ground\nfrom pkg.front.right import one\nfrom pkg import front\n",
        front__right__one="import pkg.front.right.two\n",
        front__right__two="import pkg.words\n",
        front__joined="from pkg.front.left import one\nfrom pkg.front.right import two\nfrom pkg.front import ground\n",
        front__ground="",
    )
    (package / "front.py").unlink()
    for room in (package / "front", package / "front" / "left", package / "front" / "right"):
        (room / "__init__.py").touch()
    assert broken_laws(imports_in(package), law, "pkg", STANDARD) == [
        "pkg/front/left/one.py:2: front.left may not import front.right (pkg.front.right.one)",
        "pkg/front/left/one.py:3: front.left may not import front (pkg.front)",
        "pkg/front/right/two.py:1: front.right may not import words (pkg.words)",
    ]
