"""`pipeframe demo`: what its steps measure, what its feed finds, and what it shows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sysconfig
import tempfile
import threading
import tokenize
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async.cli import demo_pipeline
from pipeframe_async.cli.demo_pipeline import Ranking, StdlibMetrics, listed
from pipeframe_async.cli.demo_steps import FileMetrics, Function, count_tokens, measure, parse, read
from tests.cli.conftest import Pipeframe

SOURCE = '''\
"""A module."""

# a comment

class Shape:
    def area(self, sides):  # and another
        total = 0
        for side in sides:
            if side and side > 0 or not sides:
                total += side
        return total if total else [s for s in sides if s]

    async def empty(self):
        def inner(x):
            while x:
                x -= 1
        try:
            pass
        except ValueError:
            match self:
                case 1: pass
                case _: pass
        assert inner
'''


def measured(path: Path) -> FileMetrics:
    """A file through all steps, here and now."""
    record: Any = str(path)
    for step in (read, count_tokens, parse, measure):
        record, keep_going = step(record)
        assert keep_going
    assert isinstance(record, FileMetrics)
    return record


def test_a_file_is_measured_by_its_functions(tmp_path: Path) -> None:
    (tmp_path / "shape.py").write_text(SOURCE)
    metrics = measured(tmp_path / "shape.py")
    assert (metrics.lines, metrics.code, metrics.comments, metrics.functions) == (23, 19, 2, 3)
    assert {function.name: function.complexity for function in metrics.hardest} == {
        "Shape.area": 8,  # itself, for, if, and, or, one expression's if, the comprehension and its if
        "Shape.empty": 5,  # itself, except, two cases, assert
        "Shape.empty.inner": 2,
    }
    assert metrics.complexity == 15
    assert metrics.longest == Function("Shape.empty", 13, 11, 5)


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    assert measured(tmp_path / "empty.py")[1:] == (0, 0, 0, 0, 0, None, ())


@pytest.mark.parametrize(
    "content",
    [
        b"# coding: no-such-thing\n",
        b"x = '\xff'\n",
        b"def f:\n",
        b"if True:\n        x\n    y\n",
        b"x = (\n",
        b"x = '\0'\n",
    ],
)
def test_a_file_that_is_not_python_raises(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_bytes(content)
    with pytest.raises((SyntaxError, UnicodeDecodeError, tokenize.TokenError, ValueError)):
        measured(tmp_path / "broken.py")


def test_a_ranking_keeps_the_hardest_in_order_and_no_more() -> None:
    ranking = Ranking()
    for number in range(50):
        function = Function(f"f{number}", 1, 1, number)
        ranking.add([FileMetrics(f"{number}.py", 2, 1, 0, 1, number, function, (function,))])
    assert [function.complexity for function, _ in ranking.hardest_functions] == list(range(49, 39, -1))
    assert [file.path for file in ranking.hardest_files] == [f"{number}.py" for number in range(49, 39, -1)]
    assert (ranking.files, ranking.lines, ranking.functions) == (50, 100, 50)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with Python in it, and with what is to be left alone."""
    place = tmp_path / "tree"
    for name in (
        "a.py",
        "b/c.py",
        "b/d/e.py",
        "z.py",
        "z.txt",
        "__pycache__/a.py",
        ".hidden/h.py",
        "site-packages/s.py",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(SOURCE)
    (place / "broken.py").write_text("def :\n")
    return place


async def test_the_feed_walks_directories_and_leaves_some_alone(tree: Path, tmp_path: Path) -> None:
    pipeline = StdlibMetrics(tree, output=tmp_path / "out")
    found = [pipeline.name_of(path) async for path in pipeline.feed()]
    assert found == ["a.py", "broken.py", "z.py", os.path.join("b", "c.py"), os.path.join("b", "d", "e.py")]


async def test_the_feed_ends_at_its_limit(tree: Path, tmp_path: Path) -> None:
    assert len([path async for path in StdlibMetrics(tree, 2, tmp_path / "out").feed()]) == 2


async def test_the_disk_is_never_waited_for_on_the_loop(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noting(directory: Path) -> tuple[list[str], list[Path]]:
        threads.append(threading.current_thread())
        return listed(directory)

    monkeypatch.setattr(demo_pipeline, "listed", noting)
    assert [path async for path in StdlibMetrics(tree, output=tmp_path / "out").feed()]
    assert len(threads) == 3
    assert threading.current_thread() not in threads
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_links_to_directories_are_not_followed(tree: Path) -> None:
    (tree / "b" / "round").symlink_to(tree)
    assert listed(tree / "b")[1] == [tree / "b" / "d"]


def test_a_pipeline_makes_no_file_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    StdlibMetrics()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.process
def test_the_demo_shows_a_ranking_the_failures_and_the_report(pipeframe: Pipeframe, tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "metrics.jsonl"
    ending = pipeframe("demo", "--dir", tree, "--output", output, "--cpu-count", "1")
    assert ending.code == 0, ending.err
    assert f"4 files · 92 lines · 12 functions below {tree}" in ending.out
    assert re.search(r" 1 +Shape\.area +\S+\.py:6 +6 +8 ", ending.out)
    assert re.search(r" 1 +\S+\.py +3 +23 +15 ", ending.out)
    assert re.search(
        r"1 could not be measured\n +count_tokens|parse +broken\.py +SyntaxError: invalid syntax", ending.out
    )
    assert "broken on purpose" not in ending.out
    assert f"All results: {output}" in ending.out
    assert "fed 5 · delivered 4 · failed 1" in ending.out
    assert ending.out.index("Shape.area") < ending.out.index("exhausted after")


@pytest.mark.process
def test_the_results_are_json_lines(pipeframe: Pipeframe, tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "metrics.jsonl"
    output.write_text("of an earlier run\n")
    ending = pipeframe("demo", "--dir", tree, "--output", output, "--cpu-count", "1", "--progress", "json")
    assert [json.loads(line)["event"] for line in ending.out.splitlines()] == ["results", "report"]
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["path"] for line in lines] == [
        "a.py",
        "z.py",
        os.path.join("b", "c.py"),
        os.path.join("b", "d", "e.py"),
    ]
    assert lines[0]["hardest"][0] == {"name": "Shape.area", "line": 6, "lines": 6, "complexity": 8}
    assert lines[0]["longest"]["name"] == "Shape.empty"


@pytest.mark.process
def test_the_standard_library_is_measured_and_its_results_kept_in_a_new_file(
    pipeframe: Pipeframe, tmp_path: Path
) -> None:
    ending = pipeframe("demo", "--limit", "30", "--progress", "none")
    assert ending.code == 0
    assert ending.err == ""
    assert f"below {sysconfig.get_path('stdlib')}" in ending.out
    (output,) = tmp_path.glob("*.jsonl")
    assert f"All results: {output}" in ending.out
    assert len(output.read_text().splitlines()) == 30


@pytest.mark.process
def test_a_directory_without_python_is_no_error(pipeframe: Pipeframe, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    ending = pipeframe("demo", "--dir", tmp_path / "none", "--output", tmp_path / "out", "--executor", "inline")
    assert ending.code == 0
    assert "0 files · 0 lines · 0 functions" in ending.out
    assert "most complex" not in ending.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "/no/such/place"], "/no/such/place cannot be written: No such file or directory"),
        (["--dir", "/no/such/place"], "'/no/such/place' does not exist"),
        (["--limit", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_is_a_usage_error(arguments: list[str], message: str, pipeframe: Pipeframe) -> None:
    ending = pipeframe("demo", *arguments)
    assert ending.code == 2
    assert message in ending.err


@pytest.mark.process
def test_a_file_name_controls_no_terminal(pipeframe: Pipeframe, tree: Path, tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("no such names here")
    (tree / "\x1b[31mred.py").write_text("def :\n")
    ending = pipeframe("demo", "--dir", tree, "--output", tmp_path / "out", "--executor", "inline")
    assert "\x1b[31m" not in ending.out
    assert r"\x1b[31mred.py" in ending.out


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="it has no process groups")
def test_killed_in_the_middle_the_demo_goes_on(pipeframe: Pipeframe) -> None:
    ending = pipeframe("demo", "--kill", "--limit", "400", "--progress", "none")
    assert ending.code == 0, ending.err
    first, second = (line for line in ending.err.splitlines() if line.startswith("$ pipeframe run"))
    assert first == second
    assert "kill -9" in ending.err
    assert "the job has been ended, and goes on" in ending.out
    assert "skipped" in ending.out
    assert "Each of the 400 files once" in ending.err


def test_killed_the_demo_has_a_place_of_its_own(pipeframe: Pipeframe, tmp_path: Path) -> None:
    ending = pipeframe("demo", "--kill", "--output", tmp_path / "out")
    assert (ending.code, "leave --output out" in ending.err) == (2, True)
