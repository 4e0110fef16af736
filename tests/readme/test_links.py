"""Links from page to page lead somewhere: the file is there, and so is the heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.readme.snippets import pages

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(text: str) -> list[str]:
    """The relative ones, outside of what is shown as code."""
    found = LINK.findall(re.sub(r"`[^`\n]*`", "", FENCED.sub("", text)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """Of its headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page",
    sorted({*pages(ROOT), *ROOT.glob("[A-Z]*.md"), ROOT / "benchmarks" / "README.md"}),
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    lost = []
    for link in links(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(link)
    assert lost == []


def test_links_in_code_are_none() -> None:
    assert links("[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[g](https://h.example)") == ["b.md"]
