"""`pipeframe dead`: dead letters counted, shown, written out, dropped and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeframe_async import Failure
from pipeframe_async.sinks import DeadLetters
from tests.cli.conftest import Pipeframe

APP = """
from pipeframe_async import PipelineEngine
from pipeframe_async.sinks import DeadLetters

def invert(number):
    return 1 / number, True

class Inverse(PipelineEngine):
    steps = [invert]
    feed = [1, 0, 2, 0]
    dead_letter = DeadLetters(PATH)

class Mended(Inverse):
    steps = [lambda number: (number, True)]
"""


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Dead letters of two kinds."""
    path = tmp_path / "orders.dead"
    (tmp_path / "app_dead.py").write_text(APP.replace("PATH", repr(str(path))))
    dead = DeadLetters(path)
    dead.pipeline_name = "Orders"
    dead.write(
        [Failure(number, "price", "raised", "ValueError", f"no {number}\nat all", "Traceback\n") for number in (1, 2)]
    )
    dead.write([Failure(b"\x1b[31m", "decode", "timeout", "TimeoutError", "late")])
    dead.write([Failure((1, 2), "price", "raised", "KeyError", "odd")])
    dead.__exit__(None, None, None)
    return path


def test_list_counts_by_how_they_have_failed_and_shows_where(pipeframe: Pipeframe, letters: Path) -> None:
    ending = pipeframe("dead", "list", letters)
    assert ending.code == 0, ending.err
    lines = ending.out.splitlines()
    assert lines[0] == f"{letters}: 4 dead letters"
    assert lines[1].startswith("2  Orders · price · raised ValueError · last 20")
    assert lines[2] == "   no 2"
    assert "number 2:" in ending.out
    assert "Traceback" in ending.out


def test_list_as_json_is_a_line_for_each_group(pipeframe: Pipeframe, letters: Path) -> None:
    groups = [json.loads(line) for line in pipeframe("dead", "list", letters, "--json").out.splitlines()]
    assert [(group["error_type"], group["count"]) for group in groups] == [
        ("ValueError", 2),
        ("KeyError", 1),
        ("TimeoutError", 1),
    ]
    assert groups[0]["newest"]["record"] == 2


def test_show_shows_all_of_an_entry_and_nothing_that_controls_a_terminal(pipeframe: Pipeframe, letters: Path) -> None:
    shown = pipeframe("dead", "show", letters, "--kind", "timeout").out
    assert "step 'decode' ran out of time, TimeoutError: late" in shown
    assert "record (text): \\x1b[31m" in shown
    assert "1 attempt," in shown
    assert pipeframe("dead", "show", letters, "--most", "1").out.startswith("1  step 'price'")
    nothing = pipeframe("dead", "show", letters, "--step", "none")
    assert (nothing.out, nothing.err) == ("", "None is of that kind.\n")


def test_export_is_a_line_of_json_for_each(
    pipeframe: Pipeframe, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeframe_async.cli.dead.AT_ONCE", 3)
    entries = [json.loads(line) for line in pipeframe("dead", "export", letters).out.splitlines()]
    assert [(entry["record"], entry["record_form"]) for entry in entries[:2]] == [(1, "json"), (2, "json")]
    assert [entry["record_form"] for entry in entries[2:]] == ["text", "pickle"]
    assert len(pipeframe("dead", "export", letters, "--id", "1", "--id", "4").out.splitlines()) == 2


@pytest.mark.parametrize(
    ("since", "found"), [("1h", 4), ("2000-01-01", 4), ("2000-01-01T10:00:00+01:00", 4), ("2999-01-01", 0)]
)
def test_since_is_a_time_or_how_long_ago(pipeframe: Pipeframe, letters: Path, since: str, found: int) -> None:
    assert len(pipeframe("dead", "export", letters, "--since", since).out.splitlines()) == found


def test_a_time_that_is_none_is_refused(pipeframe: Pipeframe, letters: Path) -> None:
    ending = pipeframe("dead", "list", letters, "--since", "yesterday")
    assert (ending.code, "how long ago" in ending.err) == (2, True)


def test_drop_removes_for_good_what_one_agrees_to(
    pipeframe: Pipeframe, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.confirm", lambda *args, **options: (_ for _ in ()).throw(KeyboardInterrupt))
    assert pipeframe("dead", "drop", letters).code == 130
    assert len(DeadLetters(letters).entries()) == 4
    assert pipeframe("dead", "drop", letters, "--error-type", "ValueError", "--yes").out == "2 dropped\n"
    assert len(DeadLetters(letters).entries()) == 2


def test_a_file_that_is_not_there_is_said_so_and_not_made(pipeframe: Pipeframe, tmp_path: Path) -> None:
    for command in (["list"], ["show"], ["export"], ["drop", "--yes"]):
        ending = pipeframe("dead", command[0], tmp_path / "none.dead", *command[1:])
        assert (ending.code, "there is no" in ending.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_replay_leaves_what_fails_again_and_removes_what_does_not(
    pipeframe: Pipeframe, letters: Path, tmp_path: Path
) -> None:
    letters.unlink()
    where = ("--app-dir", tmp_path, "--executor", "inline", "--progress", "none")
    assert pipeframe("run", "app_dead:Inverse", *where).code == 1
    again = pipeframe("dead", "replay", letters, "app_dead:Inverse", *where)
    assert (again.code, "failed 2" in again.out) == (1, True)
    assert {entry.attempts for entry in DeadLetters(letters).entries()} == {2}
    out = tmp_path / "out.jsonl"
    mended = pipeframe("dead", "replay", letters, "app_dead:Mended", *where, "--rate", "1000", "--sink", out)
    assert (mended.code, out.read_text()) == (0, "0\n0\n")
    assert DeadLetters(letters).entries() == []


@pytest.mark.process
def test_pickles_are_replayed_for_those_who_trust_them(pipeframe: Pipeframe, letters: Path, tmp_path: Path) -> None:
    replay = ("dead", "replay", letters, "app_dead:Mended", "--app-dir", tmp_path, "--executor", "inline")
    ending = pipeframe(*replay)
    assert (ending.code, "--trust" in ending.err) == (1, True)
    assert pipeframe(*replay, "--trust").code == 0


@pytest.mark.process
def test_a_dead_letter_by_its_end_is_such_a_file(pipeframe: Pipeframe, tmp_path: Path, app_dir: Path) -> None:
    bad = tmp_path / "bad.dead"
    options = ("--executor", "inline", "--progress", "none", "--dead-letter", bad)
    assert pipeframe("run", "app:WithZero", "--app-dir", app_dir, *options).code == 1
    [entry] = DeadLetters(bad).entries()
    assert (entry.pipeline, entry.step, entry.record()) == ("WithZero", "invert", 0)
