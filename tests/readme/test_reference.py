"""The reference has every public name once, and none that there is not; the page on installing has every extra."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))

MODULES = ("pipeframe_async", "pipeframe_async.feeds", "pipeframe_async.sinks", "pipeframe_async.testing")

FOR_WHO_WORKS_ON_IT = {"bench", "dev", "docs", "test"}
"""Extras of a checkout."""

MAX_README = 150
"""Lines: what is looked at before it is decided whether to go on. More belongs to the pages."""


def named(text: str) -> list[str]:
    """The full names that a page takes its text from."""
    module, names = "", []
    for directive, name in re.findall(r"^\.\. (currentmodule|auto\w+):: ([\w.]+)", text, re.MULTILINE):
        if directive == "currentmodule":
            module = name
        else:
            names.append(name if name.startswith("pipeframe_async.") else f"{module}.{name}")
    return names


ON_PAGES = Counter(name for page in REFERENCE for name in named(page.read_text("utf-8")))


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference_once(module: str) -> None:
    public = {f"{module}.{name}" for name in import_module(module).__all__}
    assert {name: ON_PAGES[name] for name in public if ON_PAGES[name] != 1} == {}


@pytest.mark.parametrize("name", ON_PAGES)
def test_what_is_in_the_reference_is_there_and_says_what_it_is(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    value = getattr(import_module(module), attribute)
    assert value.__doc__, f"{name} has no docstring"


def test_the_page_on_installing_has_every_extra() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == extras - FOR_WHO_WORKS_ON_IT


def test_the_readme_is_read_in_a_minute() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_README
