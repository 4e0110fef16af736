"""No file of a run is two things at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import Checkpoint, ConfigError, apply, feeds, pipeline, run, sinks
from pipeframe_async.sinks import Csv, DeadLetters, JsonLines, Lines


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("one\n")
    (tmp_path / "link").symlink_to("in")


def ran(feed: Any = ("one",), **ends: Any) -> None:
    run(pipeline(apply(str), **ends), feed, executor="inline")


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ({"checkpoint": "x", "sink": JsonLines("x")}, "checkpoint and .*sink would both write x:"),
        ({"checkpoint": "link/x", "sink": Lines("in/x", append=True)}, "checkpoint and .*sink would both write in/x:"),
        ({"checkpoint": Checkpoint("x.part"), "sink": Csv("x")}, "checkpoint and .*sink would both write .*x.part:"),
        ({"checkpoint": "x", "sink": Lines("x.lock")}, "checkpoint and .*sink would both write x.lock:"),
        ({"checkpoint": "x.rows", "sink": sinks.Parquet("x")}, "checkpoint and .*sink would both write .*x.rows:"),
        ({"checkpoint": "x", "dead_letter": DeadLetters("x")}, "checkpoint and .*dead_letter would both write x:"),
        ({"sink": JsonLines("x"), "dead_letter": JsonLines("./x", append=True)}, "sink and .*dead_letter would both"),
    ],
)
def test_two_ends_do_not_write_one_file(ends: dict[str, Any], says: str) -> None:
    if isinstance(ends.get("sink"), sinks.Parquet):
        pytest.importorskip("pyarrow")
    before = sorted(os.listdir())
    with pytest.raises(ConfigError, match=says):
        ran(**ends)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("paths", "ends"),
    [
        ("in/a.txt", {"sink": Lines("in/a.txt", append=True)}),
        ("link/a.txt", {"sink": Lines("in/a.txt", append=True)}),
        ("in/*.txt", {"sink": Lines("in/b.txt", append=True)}),
        ("link/?.txt", {"sink": Lines("in/b.txt", append=True)}),
        ("**/*.txt", {"sink": Lines("in/b.txt", append=True)}),
        ("in/*", {"sink": Lines("in/b.txt")}),  # as in/b.txt.part
        ("i*/*", {"dead_letter": DeadLetters("in/bad.dead")}),
        ("*", {"checkpoint": "job.state"}),
    ],
)
def test_a_feed_does_not_read_what_grows(paths: str, ends: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"the feed of .* reads .*, and .* adds to .* meanwhile: it would not end"):
        ran(feeds.Lines(paths), **ends)
    assert sorted(os.listdir("in")) == ["a.txt"]


@pytest.mark.parametrize(
    ("paths", "ends"),
    [
        ("in/a.txt", {"sink": Lines("in/a.txt")}),  # it is replaced, at the end
        ("in/*.txt", {"sink": Lines("in/b.txt")}),
        ("in/*.txt", {"sink": Lines("b.txt", append=True), "checkpoint": "job.state"}),
        ("*/*.txt", {"sink": Lines("in/deeper.txt", append=False), "dead_letter": DeadLetters("in/x.dead")}),
        ("in/*.txt", {"sink": Lines("/dev/null"), "dead_letter": Lines("/dev/null", append=True)}),
    ],
)
def test_what_is_no_clash_is_none(paths: str, ends: dict[str, Any]) -> None:
    ran(feeds.Lines(paths), **ends)
