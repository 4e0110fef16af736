"""What a worker leaves behind: words that were said whole and are about this batch, and the stack it ended in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeframe_async._worker import codec, postmortem
from pipeframe_async._worker.postmortem import LastWords, read_words
from pipeframe_async.executors.processes.autopsy import _last_words as last_words
from pipeframe_async.executors.processes.remains import Remains
from pipeframe_async.wire import Reply
from tests.worker.ending import BATCH, LAST, RECORDS

pytestmark = pytest.mark.skipif(postmortem.LAST_CALL is None, reason="no signal to call a worker with")

DONE = Reply(2, 2, results=codec.dumps(["a", "b"]))
WORDS = LastWords(7, "Stack (most recent call last):\n", DONE)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "words", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, 2**20, 0)


def test_words_come_back_equal(file: int) -> None:
    postmortem._write(file, WORDS)
    assert read_words(content(file), 7) == WORDS


def test_where_nothing_was_said_there_are_no_words(file: int) -> None:
    assert read_words(b"", 7) is None
    assert read_words(bytes(8), 7) is None


def test_words_about_another_batch_are_none_about_this_one(file: int) -> None:
    postmortem._write(file, WORDS)
    assert read_words(content(file), 8) is None


def test_words_that_were_cut_short_anywhere_do_not_count(file: int) -> None:
    postmortem._write(file, WORDS)
    whole = content(file)
    assert [length for length in range(len(whole)) if read_words(whole[:length], 7) is not None] == []


class CutShort(Exception):
    pass


@pytest.mark.parametrize("writes", range(4))
def test_second_words_that_were_cut_short_leave_none_that_are_half_of_each(
    file: int, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is ended between any two of its writes, each of which puts down a few bytes only."""
    first, made, pwrite = LastWords(7, "at first", None), 0, os.pwrite
    postmortem._write(file, first)

    def some(fd: int, data: bytes, at: int) -> int:
        nonlocal made
        if made == writes:
            raise CutShort
        made += 1
        return pwrite(fd, data[: max(8, len(data) // 2)], at)

    monkeypatch.setattr(os, "pwrite", some)
    with pytest.raises(CutShort):
        postmortem._write(file, WORDS)
    assert read_words(content(file), 7) == (first if writes == 0 else None)


def test_words_that_make_no_sense_are_none() -> None:
    nonsense = (5).to_bytes(8, "little") + b"abcde"
    with pytest.raises(Exception, match=r".*"):
        read_words(nonsense, 7)
    remains = Remains(None, False, "", False, "", nonsense)  # type: ignore[arg-type] # the place does not matter here
    assert last_words(remains, 7) is None


class Ended:
    """A worker that has ended, and what it left."""

    def __init__(self, case: str, folder: Path, *, until: Callable[[bytes], bool] | None = None) -> None:
        stack, words = (os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in ("stack", "words"))
        command = [sys.executable, "-m", "tests.worker.ending", case, str(stack), str(words)]
        process = subprocess.Popen(command, pass_fds=(stack, words), stdout=subprocess.PIPE, text=True)
        try:
            if until is not None:
                deadline = time.monotonic() + 30
                while not until(content(words)) and time.monotonic() < deadline:
                    time.sleep(0.01)
                process.kill()
            self.said, _ = process.communicate(timeout=40)
        finally:
            process.kill()
            self.code = process.wait()
            self.stack, self.words = content(stack).decode(), read_words(content(words), BATCH)
            os.close(stack)
            os.close(words)


def test_a_worker_called_to_its_end_says_where_it_stood_and_what_it_had_finished(tmp_path: Path) -> None:
    ended = Ended("hangs", tmp_path)
    assert (ended.code, ended.said) == (-signal.SIGKILL, "")
    assert ended.words is not None
    assert ended.words.done is not None
    assert isinstance(ended.words.done.results, bytes)
    assert codec.loads(ended.words.done.results) == [10 * number for number in range(LAST)]
    assert ended.words.done.records == LAST
    lines = ended.words.stack.splitlines()
    assert lines[0] == "Stack (most recent call last):"
    assert "in step" in lines[1]  # none of the frames of this library before it
    assert "in call_last" in ended.words.stack
    assert "in call_last" in ended.stack  # and faulthandler, which can do it also in C code, says the same


def test_finished_results_that_nobody_wants_are_counted_and_not_written(tmp_path: Path) -> None:
    words = Ended("nothing wanted", tmp_path).words
    assert words is not None
    assert words.done is not None
    assert (words.done.records, words.done.delivered, words.done.results) == (LAST, LAST, None)


def test_a_finished_result_that_has_no_pickle_costs_its_record_also_at_the_end(tmp_path: Path) -> None:
    words = Ended("result without a pickle", tmp_path).words
    assert words is not None
    assert words.done is not None
    ((place, _, kind, *_),) = words.done.failures
    assert (place, kind) == (1, "unpicklable")
    assert isinstance(words.done.results, tuple)
    assert [codec.loads(frame) for frame in words.done.results] == [0, 20]


def test_a_worker_that_hangs_as_it_writes_what_was_finished_has_said_where_it_stood(tmp_path: Path) -> None:
    words = Ended("result that hangs", tmp_path, until=lambda data: read_words(data, BATCH) is not None).words
    assert words is not None
    assert words.done is None
    assert "in call_last" in words.stack


def test_a_worker_that_has_gone_on_meanwhile_is_spared(tmp_path: Path) -> None:
    ended = Ended("spared", tmp_path)
    assert ended.said.split("\n")[:2] == [f"lives on at {LAST}", str(RECORDS)]
    assert (ended.code, ended.words) == (0, None)


def test_a_crash_leaves_its_stack_and_no_words(tmp_path: Path) -> None:
    ended = Ended("crash", tmp_path)
    assert ended.code == -signal.SIGSEGV
    assert "in crash" in ended.stack
    assert ended.words is None
