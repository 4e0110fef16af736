"""A log record as a line of JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from pipeframe_async.observe.json_logs import JsonFormatter


class Stubborn:
    def __repr__(self) -> str:
        raise ValueError("no")


def told(msg: str = "at %d", args: Any = (5,), exc_info: Any = None, **extra: Any) -> dict[str, Any]:
    record = logging.LogRecord("app.steps", logging.WARNING, "/src/steps.py", 12, msg, args, exc_info)
    record.created = 0.5
    vars(record).update(extra)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_says_when_how_severe_who_and_what() -> None:
    line = told()
    assert (line["event"], line["time"], line["level"], line["logger"], line["message"]) == (
        "log",
        "1970-01-01T00:00:00.500+00:00",
        "WARNING",
        "app.steps",
        "at 5",
    )
    assert {"exception", "stack", "extra", "pipeframe_step"}.isdisjoint(line)


def test_where_it_was_in_a_pipeline_and_further_fields_are_told() -> None:
    line = told(pipeframe_step="parse", pipeframe_position=7, user="ada", what=Stubborn(), nothing=None)
    assert (line["pipeframe_step"], line["pipeframe_position"]) == ("parse", 7)
    assert line["extra"] == {
        "user": "ada",
        "what": "<Stubborn that cannot be shown: ValueError>",
        "nothing": None,
    }


def test_an_exception_is_text_whether_it_was_logged_here_or_in_a_worker() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        assert told("failed", (), sys.exc_info())["exception"].endswith("ValueError: bad")
    assert told("failed", (), exc_text="Traceback\nValueError: bad")["exception"] == "Traceback\nValueError: bad"
    assert told("failed", (), stack_info="Stack\n  here")["stack"] == "Stack\n  here"


def test_what_json_cannot_have_is_told_in_words() -> None:
    me: list[Any] = []
    me.append(me)
    line = told(nan=float("nan"), pairs={(1, 2): 3}, large=10**400, me=me, odd=Stubborn())
    assert (line["extra"]["nan"], line["extra"]["pairs"]) == ("nan", {"(1, 2)": 3})
    assert line["extra"]["large"].startswith("1000")
    assert line["extra"]["odd"] == "<Stubborn that cannot be shown: ValueError>"


def test_a_message_that_does_not_fit_its_arguments_is_told_too() -> None:
    assert told("at %d", ("x",))["message"] == "at %d (its arguments do not fit: TypeError)"
    assert told("at %s", (Stubborn(),))["message"] == "at %s (its arguments do not fit: ValueError)"


def test_a_time_that_is_none_is_told_as_it_is() -> None:
    assert told(created=float("inf"))["time"] == "inf"
