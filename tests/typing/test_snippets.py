"""What the pages show, and the examples, is right to type checkers: to mypy, strict, and to pyright's basic mode."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.readme.snippets import Page, Script, pages, read_page
from tests.typing.checkers import ROOT, Checker

MAX_UNTYPED = 6
"""Blocks in all that no checker sees. Each is one that may be wrong to those of who copies it."""


def scripts(page: Page) -> list[Script]:
    """What is run of a page, and what is not."""
    skipped = [block for block in page.skipped if block.language == "python"]
    return [*page.scripts, *(Script(block.line, "", block.text, block.untyped) for block in skipped)]


def written(folder: Path, root: Path = ROOT) -> dict[Path, str]:
    """Every script of the pages as a file, and where each is from. One that a page names is imported as it is here; of
    one that it changes, as it is last."""
    files = {}
    for page in pages(root):
        name = re.sub(r"\W", "_", str(page.relative_to(root).with_suffix("")))
        shown = scripts(read_page(page.read_text("utf-8")))
        named = "|".join(script.name.removesuffix(".py") for script in shown if script.name) or "(?!)"
        for script in shown:
            if script.untyped:
                continue
            text = re.sub(rf"^(from|import) ({named})\b", rf"\1 {name}__\2", script.text, flags=re.MULTILINE)
            changed = any(other.name == script.name and other.line > script.line for other in shown)
            file = folder / f"{name}__{f'{script.line}.py' if changed or not script.name else script.name}"
            file.write_text(text, "utf-8")
            files[file] = f"{page.relative_to(root)}:{script.line}"
    return files


@pytest.mark.timeout(240)
def test_what_the_pages_show_is_right(checker: Checker, tmp_path: Path) -> None:
    files = written(tmp_path)
    found = checker(*files, mode="basic")
    assert not found, "\n".join(f"{files[file]} + {line}: {message}" for file, line, message in found)


@pytest.mark.timeout(240)
def test_the_examples_are_right(checker: Checker) -> None:
    files = sorted((ROOT / "examples").glob("*.py"))
    found = checker(*files, mode="basic")
    assert not found, "\n".join(f"{file.name}:{line}: {message}" for file, line, message in found)


def test_few_blocks_are_kept_from_the_checkers() -> None:
    kept = [
        f"{page.relative_to(ROOT)}:{script.line}: {script.untyped}"
        for page in pages(ROOT)
        for script in scripts(read_page(page.read_text("utf-8")))
        if script.untyped
    ]
    assert len(kept) <= MAX_UNTYPED, "\n".join(kept)


def test_a_script_is_found_under_the_name_that_its_page_gives_it(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        "<!-- snippet: file a.py -->\n```python\nx = 1\n```\n"
        "```python\nfrom a import x\nimport abc\n```\n"
        "<!-- types: skip it is wrong -->\n```python\nx: int = ''\n```\n"
        "<!-- snippet: skip needs a server -->\n```python\ny = 1\n```\n"
    )
    (out := tmp_path / "out").mkdir()
    files = written(out, tmp_path)
    assert {file.name: origin for file, origin in files.items()} == {
        "README__a.py": "README.md:2",
        "README__5.py": "README.md:5",
        "README__14.py": "README.md:14",
    }
    assert (out / "README__5.py").read_text() == "from README__a import x\nimport abc\n"
