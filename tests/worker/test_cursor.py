"""The cursor: where a worker is, readable from outside."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from pipeframe_async._worker.cursor import NBYTES, Cursor


def test_a_new_cursor_is_at_no_record() -> None:
    assert Cursor().read() == (0, None)


@pytest.mark.parametrize("index", [0, 1, 2**32, 2**63, 2**64 - 2])
def test_a_cursor_is_where_it_was_put(index: int) -> None:
    cursor = Cursor()
    cursor.enter(7)
    cursor.cells[1] = index
    assert cursor.read() == (7, index)
    cursor.leave()
    assert cursor.read() == (7, None)


def test_what_one_side_writes_the_other_reads(tmp_path: Path) -> None:
    path = tmp_path / "cells"
    path.write_bytes(bytes(NBYTES))
    fd = os.open(path, os.O_RDWR)
    ours, theirs = Cursor(fd), Cursor(fd)
    os.close(fd)  # the mapping stays
    theirs.enter(3)
    theirs.cells[1] = 41
    assert ours.read() == (3, 41)
    theirs.close()
    assert ours.read() == (3, 41)  # also after the worker has gone
    ours.close()


def test_a_cursor_without_a_descriptor_is_private() -> None:
    one, other = Cursor(), Cursor()
    one.enter(5)
    assert other.read() == (0, None)


def test_closing_gives_the_memory_back() -> None:
    cursor = Cursor()
    cursor.close()
    with pytest.raises(ValueError, match="released"):
        cursor.cells[0]
    assert NBYTES <= mmap.PAGESIZE
