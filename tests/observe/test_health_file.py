"""The health file: whole whenever it is read, and old when nobody writes it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeframe_async.observe.health_file import OLD, problem, write
from pipeframe_async.stats import Health

WELL = Health(live=True, ready=True)


def test_what_was_written_is_what_a_probe_finds(tmp_path: Path) -> None:
    path = tmp_path / "health"
    write(path, WELL)
    assert problem(path, ready=True, now=time.time()) == ""
    write(path, Health(live=True, ready=False, reason="the source of Orders is away"))
    assert problem(path, ready=False, now=time.time()) == ""
    assert problem(path, ready=True, now=time.time()) == "not ready: the source of Orders is away"
    write(path, Health(live=False, ready=False, reason="Orders has stood still"))
    assert problem(path, ready=False, now=time.time()) == "not live: Orders has stood still"
    assert [file.name for file in tmp_path.iterdir()] == ["health"]


def test_one_that_is_old_or_gone_says_that_nobody_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "health"
    assert "is not there" in problem(path, ready=False, now=time.time())
    write(path, WELL)
    assert "nobody writes it any more" in problem(path, ready=False, now=time.time() + OLD + 1)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "\x00", '{"live": true, "ready": true, "reason": "", "at": null}'])
def test_one_of_somebody_else_s_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "health").write_text(text)
    assert "cannot be read" in problem(tmp_path / "health", ready=False, now=time.time())


def test_one_that_cannot_be_written_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "health"
    path.mkdir()
    with pytest.raises(OSError, match="health"):
        write(path, WELL)
    assert [file.name for file in tmp_path.iterdir()] == ["health"]
