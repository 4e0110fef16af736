"""The last lines of a worker: the newest, of one batch, at one record, and whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator

import pytest

from pipeframe_async._worker.lastlog import LAST_BYTES, NBYTES, SLOT_BYTES, SLOTS, LastLog, last_lines

Read = Callable[[], bytes]


@pytest.fixture
def ring() -> Iterator[tuple[LastLog, Read]]:
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), NBYTES)
        log = LastLog(file.fileno())
        yield log, lambda: os.pread(file.fileno(), NBYTES, 0)
        log.close()


def test_lines_of_a_record_are_told_in_the_order_they_came(ring: tuple[LastLog, Read]) -> None:
    log, read = ring
    for batch, at, text in [
        (1, 0, "before"),
        (2, 3, "first"),
        (2, 4, "another"),
        (2, None, "a thread"),
        (2, 3, "last"),
    ]:
        log.say(text, batch, at)
    assert last_lines(read(), 2, 3) == "first\na thread\nlast"
    assert last_lines(read(), 2, None) == "first\nanother\na thread\nlast"
    assert last_lines(read(), 3, None) == ""


def test_the_newest_are_kept(ring: tuple[LastLog, Read]) -> None:
    log, read = ring
    for number in range(SLOTS + 5):
        log.say(f"line {number}", 1, 0)
    assert last_lines(read(), 1, 0).splitlines() == [f"line {number}" for number in range(5, SLOTS + 5)]


def test_long_lines_are_cut_and_the_newest_are_told(ring: tuple[LastLog, Read]) -> None:
    log, read = ring
    for number in range(10):
        log.say(f"{number}" + "é" * SLOT_BYTES, 1, 0)
    lines = last_lines(read(), 1, 0).splitlines()
    assert sum(map(len, lines)) <= LAST_BYTES
    assert [line[0] for line in lines] == [str(number) for number in range(10 - len(lines), 10)]
    assert {*lines[-1][1:]} == {"é"}


def test_a_line_that_was_cut_short_by_the_end_does_not_count(ring: tuple[LastLog, Read]) -> None:
    log, read = ring
    log.say("whole", 1, 0)
    log.say("half", 1, 0)
    data = bytearray(read())
    data[2 * SLOT_BYTES : 2 * SLOT_BYTES + 8] = bytes(8)
    assert last_lines(bytes(data), 1, 0) == "whole"


def test_where_there_is_no_file_there_are_no_lines() -> None:
    assert last_lines(b"", 1, 0) == ""
    log = LastLog()
    log.say("of nobody", 1, 0)
    log.close()


def test_text_without_a_form_in_utf_8_is_a_line_too(ring: tuple[LastLog, Read]) -> None:
    log, read = ring
    log.say("\ud800", 1, 0)
    assert last_lines(read(), 1, 0) == "\\ud800"
