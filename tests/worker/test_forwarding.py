"""What steps log in a worker: caught once, bounded, in order, and nobody sees it twice."""

from __future__ import annotations

import io
import logging
import pickle
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async._worker import forwarding as module
from pipeframe_async._worker.cursor import BATCH, Cursor
from pipeframe_async._worker.forwarding import MANY, Chunk, Forwarding, Warned
from pipeframe_async._worker.lastlog import LastLog
from pipeframe_async._worker.logged import Logged, Place
from pipeframe_async._worker.wanted import Wanted

log = logging.getLogger("tests.forwarding")


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def wanted(level: int = logging.INFO) -> Wanted:
    return Wanted(0, (("", level, level, False),), ())


@pytest.fixture
def caught() -> Iterator[Forwarding]:
    """In this very process, whose logging is as it was afterwards."""
    root, level, handlers = logging.root, logging.root.level, [*logging.root.handlers]
    cursor, last = Cursor(), LastLog()
    cursor.cells[BATCH] = 7
    forwarding = Forwarding(cursor, last)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        root.handlers.clear()
        forwarding.install()
        forwarding.adopt(wanted())
        yield forwarding
        forwarding.leave()
    log.handlers.clear()
    root.handlers[:] = handlers
    root.setLevel(level)
    last.close()


def lines(chunks: list[Chunk]) -> list[Any]:
    found = [line for chunk in chunks for line in pickle.loads(chunk.data)]
    assert len(found) == sum(chunk.lines for chunk in chunks)
    return [Warned(*line) if line[0] is None else Logged(*line) for line in found]


def messages(forwarding: Forwarding) -> list[str]:
    return [line.message for line in lines(forwarding.chunks())]


def test_what_the_parent_wants_is_caught_in_order_and_once(caught: Forwarding) -> None:
    for number in range(3):
        log.info("line %d", number)
        log.debug("unwanted")
    assert messages(caught) == ["line 0", "line 1", "line 2"]
    assert caught.chunks() == []


def test_a_line_has_the_batch_that_is_at_work(caught: Forwarding) -> None:
    log.info("here")
    (line,) = lines(caught.chunks())
    assert (line.name, line.function, Place(*line.place)) == (
        log.name,
        "test_a_line_has_the_batch_that_is_at_work",
        Place(7),
    )


def test_handlers_that_setup_has_added_get_their_lines_too(caught: Forwarding) -> None:
    own, roots = Kept(), Kept()
    log.addHandler(own)
    logging.root.addHandler(roots)
    log.info("both")
    assert (own.lines, roots.lines, messages(caught)) == (["both"], ["both"], ["both"])


def test_handlers_of_imported_modules_get_only_what_is_not_sent(caught: Forwarding) -> None:
    kept = Kept()
    logging.root.handlers.clear()  # pytest's own, which are there since the test began
    with caught.importing():
        logging.basicConfig(level=logging.DEBUG, handlers=[kept])
    log.info("sent")
    log.setLevel(logging.DEBUG)
    log.debug("not sent")
    log.setLevel(logging.NOTSET)
    assert (kept.lines, messages(caught)) == (["not sent"], ["sent"])


def test_what_is_sent_is_not_written_to_the_console_as_well(
    caught: Forwarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    logging.basicConfig(level=logging.DEBUG, format="%(message)s", force=True)
    log.info("sent")
    log.debug("not sent")
    logging.root.handlers.clear()
    assert (shown.getvalue(), messages(caught)) == ("not sent\n", ["sent"])


def test_without_handlers_nothing_is_written_here(caught: Forwarding, capsys: pytest.CaptureFixture[str]) -> None:
    caught.adopt(wanted(logging.CRITICAL))
    log.setLevel(logging.DEBUG)
    log.error("nobody wants it")
    log.setLevel(logging.NOTSET)
    assert (capsys.readouterr().err, caught.chunks()) == ("", [])


def test_over_the_bound_lines_are_dropped_and_counted(caught: Forwarding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 3)
    for number in range(5):
        log.info("%d", number)
    (chunk,) = caught.chunks()
    assert (chunk.dropped, [line.message for line in lines([chunk])]) == (2, ["0", "1", "2"])
    log.info("again")
    assert [(chunk.lines, chunk.dropped) for chunk in caught.chunks()] == [(1, 0)]


def test_so_many_bytes_are_the_bound_too(caught: Forwarding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    for _ in range(3):
        log.info("x" * 500)
    assert [(chunk.lines, chunk.dropped) for chunk in caught.chunks()] == [(2, 1)]


def test_many_lines_are_several_chunks(caught: Forwarding) -> None:
    for number in range(MANY + 1):
        log.info("%d", number)
    assert [chunk.lines for chunk in caught.chunks()] == [MANY, 1]


def test_what_could_not_be_sent_is_the_first_again(caught: Forwarding) -> None:
    log.info("first")
    unsent = caught.chunks()
    log.info("second")
    caught.put_back(unsent)
    assert messages(caught) == ["first", "second"]


def test_a_line_of_a_step_that_takes_long_is_sent_while_it_does(caught: Forwarding) -> None:
    sent, seen = threading.Event(), list[str]()

    def send() -> None:
        seen.extend(messages(caught))
        sent.set()
        raise BrokenPipeError  # and ends the thread that sends

    caught.sent_by(send)
    log.info("under way")
    assert sent.wait(5)
    assert seen == ["under way"]
    assert caught._flusher is not None
    caught._flusher.join()


def test_what_is_shown_of_a_line_may_log_itself(caught: Forwarding) -> None:
    class Logs:
        def __repr__(self) -> str:
            log.info("inside")
            return "shown"

    logging.root.handlers.clear()
    log.info("%r", Logs())
    dropped = hasattr(
        logging.Logger, "_tls"
    )  # by logging itself, from 3.13.4 on: a line that comes while one is handled
    assert messages(caught) == (["shown"] if dropped else ["inside", "shown"])


def test_the_last_lines_are_kept_for_the_parent(monkeypatch: pytest.MonkeyPatch, caught: Forwarding) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(caught._last, "say", lambda *line: kept.append(line), raising=False)
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("failed")
    assert kept == [("ERROR tests.forwarding: failed (ValueError: bad)", 7, None)]


def test_a_warning_is_caught_where_it_would_be_shown(caught: Forwarding) -> None:
    class OurWarning(DeprecationWarning):
        pass

    for _ in range(2):
        warnings.warn("careful", OurWarning, stacklevel=1)
    (first, *_) = lines(caught.chunks())
    assert (first.text, first.filename, first.categories[-1]) == ("careful", __file__, ("builtins", "Warning"))
    assert [name.rpartition(".")[2] for _, name in first.categories] == ["OurWarning", "DeprecationWarning", "Warning"]


def test_warnings_that_a_step_records_are_its_own(caught: Forwarding) -> None:
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        warnings.warn("mine", stacklevel=1)
    assert (len(recorded), caught.chunks()) == (1, [])


def test_after_it_has_left_all_is_as_before(caught: Forwarding) -> None:
    caught.leave()
    kept = Kept()
    log.addHandler(kept)
    log.warning("plain")
    assert (kept.lines, caught.chunks()) == (["plain"], [])
    caught.leave()


def test_where_nothing_is_attached_importing_is_as_ever() -> None:
    with module.importing():
        pass
    assert module._forwarding is None
