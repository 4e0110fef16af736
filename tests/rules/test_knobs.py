"""Single values checked: each refusal has the knob's name, the value, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async._rules import knobs
from pipeframe_async.errors import ConfigError

NAN, INFINITE = float("nan"), float("inf")

REFUSED: list[tuple[Callable[[Any], Any], list[Any], str]] = [
    (lambda v: knobs.positive_int("knob", v, hint="try 4"), [0, -1, True, False, 1.0, "3", None], "int of at least 1"),
    (
        lambda v: knobs.seconds("knob", v, hint="try 4"),
        [0, -0.1, True, NAN, INFINITE, 10**400, "3", None, 1j],
        "seconds above",
    ),
    (lambda v: knobs.flag("knob", v), [0, 1, None, "yes"], "True or False"),
    (lambda v: knobs.one_of("knob", v, ("a", "b")), ["c", "A", None, ["a"], 1, "ab"], "'a' or 'b'"),
    (lambda v: knobs.failure_limit("knob", v), [-1, True, 0.0, 1.1, -0.5, NAN, INFINITE, "5", [1]], "float in (0, 1]"),
]


@pytest.mark.parametrize(
    ("check", "value", "allowed"), [(check, value, allowed) for check, values, allowed in REFUSED for value in values]
)
def test_a_wrong_value_is_refused_with_name_value_and_what_is_allowed(
    check: Callable[[Any], Any], value: Any, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(value)
    assert str(caught.value).startswith(f"knob={value!r}: must be ")
    assert allowed in str(caught.value)


def test_a_hint_says_what_else_there_is() -> None:
    with pytest.raises(ConfigError, match="knob=0: must be an int of at least 1; None for all cores"):
        knobs.positive_int("knob", 0, hint="None for all cores")
    with pytest.raises(ConfigError, match="above 0; None for no limit"):
        knobs.seconds("knob", 0, hint="None for no limit")
    with pytest.raises(ConfigError, match="must be 'a' or a function"):
        knobs.one_of("knob", 0, ("a",), also="a function")


@pytest.mark.parametrize("value", [1, 7, 10**9])
def test_a_count_passes(value: int) -> None:
    assert knobs.positive_int("knob", value) == value


@pytest.mark.parametrize("value", [1, 0.001, 1e9])
def test_seconds_pass_as_a_float(value: float) -> None:
    assert isinstance(knobs.seconds("knob", value), float)
    assert knobs.seconds("knob", value) == value


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_passes(value: bool) -> None:
    assert knobs.flag("knob", value) is value


def test_one_of_the_words_passes() -> None:
    assert knobs.one_of("knob", "b", ("a", "b")) == "b"


@pytest.mark.parametrize("value", [None, 0, 1, 5, 0.001, 1.0])
def test_a_limit_of_failures_passes_as_it_is(value: int | float | None) -> None:
    passed = knobs.failure_limit("knob", value)
    assert passed == value
    assert type(passed) is type(value)  # 1 is one record, 1.0 is all of them


@pytest.mark.parametrize("value", ["", ".", "..", "/", "a\0b", "half a \ud800", b"bytes", 1])
def test_what_is_no_path_of_a_file_is_refused_before_anything_is_written(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"report=.*must be the path of a file"):
        knobs.path("report", value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be the path of a file, and this is none"):
        knobs.path("report", tmp_path)
    assert knobs.path("report", tmp_path / "report.html") == tmp_path / "report.html"
