"""`python -m benchmarks` knows each question by its name; the pages name commands and pictures that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import __main__ as everything
from benchmarks import throughput
from tests.readme.snippets import pages

ROOT = Path(__file__).parents[2]
PAGES = [*pages(ROOT), ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
NAMES = {"--only": {*everything.QUESTIONS}, "--work": {*throughput.WORKS}}


def test_every_question_is_asked_and_has_its_own_name() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "__main__"}
    assert set(everything.QUESTIONS) == files
    assert len(everything.QUESTIONS) == len(files)


def test_a_question_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        everything.main(["--only", "nonsense"])
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_benchmark_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = set(re.findall(r"python -m benchmarks\.(\w+)", text)) | set(re.findall(r"benchmarks/(\w+)\.py", text))
    assert named <= set(everything.QUESTIONS)
    for command in re.findall(r"python -m benchmarks(?= )[^\n`]*", text):
        assert _words_after("--only", command) <= NAMES["--only"], command
    for command in re.findall(r"python -m benchmarks\.throughput[^\n`]*", text):
        assert _words_after("--work", command) <= NAMES["--work"], command


def test_every_file_that_the_page_of_the_benchmarks_leads_to_is_there() -> None:
    page = ROOT / "benchmarks" / "README.md"
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
    assert any(link.endswith(".png") for link in links)
    assert [link for link in links if not (page.parent / link).exists()] == []


def _words_after(option: str, command: str) -> set[str]:
    words = command.split("#")[0].partition(f"{option} ")[2].split(" --")[0]
    return {word for word in words.split() if not word.startswith("[")}
