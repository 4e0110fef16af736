"""A log record as plain data and back: all that it says is kept, and no object of the user's is in it."""

from __future__ import annotations

import logging
import math
import pickle
import sys
from typing import Any

import pytest

from pipeframe_async._worker.logged import (
    EXC_LIMIT,
    FIELD_LIMIT,
    MESSAGE_LIMIT,
    MOST_FIELDS,
    Logged,
    Place,
    logged,
    plain,
    record_of,
)

PLACE = Place(7, 3, "step", "Orders")


class Stubborn:
    def __repr__(self) -> str:
        raise ValueError("no")


def a_record(msg: Any = "at %d", args: Any = (5,), **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("app.steps", logging.WARNING, "/src/app/steps.py", 12, msg, args, None, "clean")
    vars(record).update(extra)
    return record


def there_and_back(record: logging.LogRecord) -> logging.LogRecord:
    line = pickle.loads(pickle.dumps(tuple(logged(record, PLACE))))
    return record_of(Logged(*line), {"pipeframe_step": "step"})


def test_all_that_a_record_says_comes_back() -> None:
    record = a_record(user="ada")
    back = there_and_back(record)
    assert back.getMessage() == "at 5"
    same: tuple[str, ...] = (
        "name",
        "levelno",
        "levelname",
        "pathname",
        "filename",
        "module",
        "lineno",
        "funcName",
        "created",
    )
    same += ("process", "processName", "thread", "threadName", "stack_info", "user", "msecs")
    assert {name: getattr(back, name) for name in same} == {name: getattr(record, name) for name in same}
    assert back.relativeCreated == pytest.approx(record.relativeCreated, abs=1)
    assert (vars(back)["pipeframe_step"], back.args, back.exc_info) == ("step", None, None)
    assert logging.Formatter("%(asctime)s %(message)s").format(back) == logging.Formatter(
        "%(asctime)s %(message)s"
    ).format(record)


def test_an_exception_comes_as_the_text_that_logging_makes_of_it() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = a_record("failed", ())
        record.exc_info = sys.exc_info()
    back = there_and_back(record)
    assert logging.Formatter().format(back) == logging.Formatter().format(record)
    assert "ValueError: bad" in logging.Formatter().format(back)


def test_of_a_long_traceback_the_end_comes() -> None:
    record = a_record("failed", ())
    record.exc_info = (ValueError, ValueError("x" * 2 * EXC_LIMIT + "end"), None)
    text = logged(record).exc_text or ""
    assert len(text) < EXC_LIMIT + 10
    assert text.endswith("end")


def test_objects_are_not_sent_but_shown() -> None:
    back = there_and_back(a_record(who=Stubborn(), what=object(), many=[1, {"a": (2, None)}], name_of={1: 1.5}))
    assert vars(back)["what"].startswith("<object object")
    assert "cannot be shown: ValueError" in vars(back)["who"]
    assert (vars(back)["many"], vars(back)["name_of"]) == ([1, {"a": [2, None]}], {"1": 1.5})


def test_a_message_that_does_not_fit_its_arguments_is_a_line_all_the_same() -> None:
    assert logged(a_record(args=("x",))).message == "at %d (its arguments ['x'] do not fit: TypeError)"
    assert "cannot be shown" in logged(a_record(Stubborn(), ("x",))).message


def test_what_is_long_is_cut() -> None:
    line = logged(a_record("m" * 2 * MESSAGE_LIMIT, (), **{f"f{n}": "x" * 2 * FIELD_LIMIT for n in range(100)}))
    assert len(line.message) == MESSAGE_LIMIT
    assert line.extra is not None
    assert len(line.extra) == MOST_FIELDS
    assert {len(value) for value in line.extra.values()} == {FIELD_LIMIT}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (2**2000, "<int of 2001 bits>"),
        ([[[[[1]]]]], [[[["[1]"]]]]),
        (b"ab", "b'ab'"),
    ],
)
def test_values_as_json_has_them(value: Any, shown: Any) -> None:
    assert plain(value) == shown


def test_a_subclass_is_shown_and_not_sent() -> None:
    class Name(str):
        pass

    assert type(plain(Name("ada"))) is str
    assert type(logged(a_record(Name("ada"), ())).message) is str


def test_a_line_has_its_place() -> None:
    assert Place(*logged(a_record(), PLACE).place) == PLACE


@pytest.mark.parametrize("field", ["levelno", "created", "lineno", "process", "thread"])
@pytest.mark.parametrize("value", [math.inf, math.nan, None, "12", lambda: None, [1]])
def test_where_a_number_belongs_nothing_else_crosses_the_border(field: str, value: Any) -> None:
    record = logging.makeLogRecord({"msg": "made by hand", field: value})
    line = logged(record)
    assert pickle.loads(pickle.dumps(line)) == line
    assert record_of(line, {}).getMessage() == "made by hand"
