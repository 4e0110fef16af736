"""Log lines of workers: handled as if they had been logged here, in order, off the loop, and never without a bound."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeframe_async._worker.forwarding import Chunk, Warned
from pipeframe_async._worker.logged import Place, logged
from pipeframe_async.executors import handling as module
from pipeframe_async.executors.handling import Handling

log = logging.getLogger("tests.handling")
POSITIONS = {7: range(100, 110)}
Make = Callable[[logging.Handler], None]


class Blocks(logging.Handler):
    """Waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on, self.lines = threading.Event(), list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        assert self.go_on.wait(10)
        self.lines.append(record.getMessage())


@pytest.fixture
def added() -> Iterator[Make]:
    yield log.addHandler
    log.handlers.clear()
    log.setLevel(logging.NOTSET)


def line(message: str = "a line", at: int | None = 3, level: int = logging.WARNING) -> tuple[Any, ...]:
    record = logging.LogRecord(log.name, level, __file__, 1, message, None, None)
    return tuple(logged(record, Place(7, at, "step", "Orders")))


def warned(text: str, lineno: int = 1, categories: tuple[tuple[str, str], ...] = (("builtins", "UserWarning"),)) -> Any:
    return tuple(Warned(None, text, categories, "/src/steps.py", lineno, tuple(Place(7, 3, "step", "Orders"))))


def chunk(*lines: tuple[Any, ...], dropped: int = 0) -> Chunk:
    return Chunk(len(lines), dropped, pickle.dumps([*lines]))


async def handled(*chunks: Chunk) -> Handling:
    handling = Handling()
    for each in chunks:
        handling.put(each, "lane 0", POSITIONS)
    await handling.handled()
    await handling.close()
    return handling


async def test_lines_come_in_order_with_where_they_were(caplog: pytest.LogCaptureFixture) -> None:
    await handled(chunk(line("a"), line("b", 4)), chunk(line("c", None)))
    assert [record.getMessage() for record in caplog.records] == ["a", "b", "c"]
    first, second, third = (vars(record) for record in caplog.records)
    assert [first[f"pipeframe_{name}"] for name in ("step", "position", "worker", "pipeline")] == [
        "step",
        103,
        "lane 0",
        "Orders",
    ]
    assert (second["pipeframe_position"], third["pipeframe_position"]) == (104, None)


async def test_a_level_that_was_raised_since_holds(caplog: pytest.LogCaptureFixture, added: Make) -> None:
    log.setLevel(logging.ERROR)
    await handled(chunk(line("a"), line("b", level=logging.ERROR)))
    assert [record.getMessage() for record in caplog.records] == ["b"]


async def test_a_handler_that_raises_costs_its_line(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        if record.getMessage() == "a":
            raise ValueError("no")
        return True

    log.addFilter(refuse)
    await handled(chunk(line("a"), line("b")), Chunk(1, 0, b"nonsense"), chunk(line("c")))
    log.removeFilter(refuse)
    assert [record.getMessage() for record in caplog.records] == ["b", "c"]
    assert "ValueError: no" in capsys.readouterr().err


async def test_a_handler_that_blocks_holds_up_neither_the_loop_nor_the_end(
    added: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 3)
    blocks, handling = Blocks(), Handling()
    added(blocks)
    for name in "abcde":
        handling.put(chunk(line(name)), "lane 0", POSITIONS)
    assert handling.dropped == 2
    began = time.monotonic()
    await handling.handled(0.01)
    assert time.monotonic() - began < 5
    assert "2 log lines of steps were dropped" in caplog.text
    blocks.go_on.set()
    await handling.close()
    assert blocks.lines == ["a", "b", "c"]
    assert caplog.text.count("were dropped") == 1


async def test_what_no_handler_has_taken_at_the_end_is_dropped_and_counted(
    added: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "HANDLED_SECONDS", 0.01)
    blocks, handling = Blocks(), Handling()
    added(blocks)
    handling.put(chunk(line("a"), line("x")), "lane 0", POSITIONS)
    handling.put(chunk(line("b")), "lane 0", POSITIONS)
    await asyncio.to_thread(_until, lambda: len(handling._waiting) == 1)
    await handling.close()
    assert handling.dropped == 3
    assert "3 log lines of steps were dropped: a handler has not taken them in time" in caplog.text
    handling.put(chunk(line("late")), "lane 0", POSITIONS)
    assert handling.dropped == 4
    blocks.go_on.set()
    assert handling._thread is not None
    handling._thread.join()
    assert blocks.lines == ["a"]


def _until(met: Callable[[], bool]) -> None:
    while not met():
        time.sleep(0.001)


async def test_what_was_dropped_in_a_worker_counts_too(caplog: pytest.LogCaptureFixture) -> None:
    handling = await handled(chunk(line(), dropped=5), chunk(dropped=2))
    assert handling.dropped == 7
    assert "7 log lines of steps were dropped" in caplog.text


async def test_without_lines_no_thread_is_begun() -> None:
    assert (await handled())._thread is None


async def test_a_warning_is_shown_once_whoever_has_raised_it() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        await handled(chunk(warned("careful"), warned("careful")), chunk(warned("careful", 2)))
    assert [(str(told.message), told.filename, told.lineno) for told in shown] == [
        ("careful", "/src/steps.py", 1),
        ("careful", "/src/steps.py", 2),
    ]


async def test_the_filters_of_this_process_decide() -> None:
    names = (("unknown", "Odd"), ("builtins", "DeprecationWarning"), ("builtins", "Warning"))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "quiet")
        await handled(chunk(warned("quiet"), warned("old", 1, names), warned("odd", 2, (("unknown", "Odd"),))))
    assert [told.category for told in shown] == [DeprecationWarning, UserWarning]


async def test_an_error_is_shown_once_for_it_is_too_late_to_raise_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *where: shown.append(str(message)))
    await handled(chunk(warned("careful"), warned("careful")))  # in this suite each warning is an error
    assert shown == ["careful"]


async def test_where_warnings_are_captured_they_are_log_lines_with_their_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        await handled(chunk(warned("careful")))
        logging.captureWarnings(False)
    (record,) = caplog.records
    assert (record.name, vars(record)["pipeframe_position"], "careful" in record.getMessage()) == (
        "py.warnings",
        103,
        True,
    )


def test_what_is_wanted_is_looked_at_again_when_a_level_or_the_roots_handlers_change() -> None:
    handling, logger = Handling(), logging.getLogger("tests.handling.levels")
    before = handling.wanted()
    assert handling.wanted() is before
    logger.setLevel(logging.DEBUG)
    changed = handling.wanted()
    assert changed is not before
    logger.setLevel(logging.NOTSET)
    handler = logging.Handler(logging.CRITICAL)
    logging.root.addHandler(handler)
    assert Handling().wanted() == handling.wanted()
    logging.root.removeHandler(handler)
    assert handling.wanted() == before


def test_what_says_nothing_of_a_change_is_seen_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    handling, logger = Handling(), logging.getLogger("tests.handling.off")
    before = handling.wanted()
    logger.disabled = True
    monkeypatch.setattr(module._look, "_looked", time.monotonic() - 1)
    after = handling.wanted()
    logger.disabled = False
    assert after != before
    monkeypatch.setattr(module._look, "_looked", 0.0)
