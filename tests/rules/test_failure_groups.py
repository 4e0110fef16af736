"""Failures by group: told apart, in fixed memory, and with nothing of a record."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.failure_groups import MOST_GROUPS, MOST_TRACEBACK, FailureGroups, frames_of
from pipeframe_async.model import Failure, FailureKind

SECRET = "4929-0000"


def failure(step: str = "parse", kind: FailureKind = "raised", error_type: str = "ValueError", text: str = "") -> Any:
    return Failure("a record", step, kind, error_type, "a message", text)


def test_groups_are_by_step_kind_and_type_the_most_frequent_first() -> None:
    groups = FailureGroups()
    groups.add([failure(), failure(step="price")], 1.0)
    groups.add([failure(step="price"), failure(step="price", kind="timeout", error_type="TimeoutError")], 2.0)
    assert [(g.step, g.kind, g.error_type, g.count, g.newest) for g in groups.groups()] == [
        ("price", "raised", "ValueError", 2, 2.0),
        ("parse", "raised", "ValueError", 1, 1.0),
        ("price", "timeout", "TimeoutError", 1, 2.0),
    ]


@given(st.lists(st.integers(0, 2_000), max_size=1_000))
def test_any_number_of_kinds_of_errors_is_counted_in_fixed_memory(kinds: list[int]) -> None:
    groups = FailureGroups()
    for kind in kinds:
        groups.add([failure(error_type=f"Error{kind}")], 1.0)
    assert sum(group.count for group in groups.groups()) == len(kinds)
    assert len(groups.groups()) <= MOST_GROUPS + 1


def test_what_is_beyond_the_most_groups_has_no_names() -> None:
    groups = FailureGroups()
    groups.add([failure(error_type=f"Error{n}") for n in range(MOST_GROUPS + 7)], 1.0)
    assert groups.groups()[0] == groups.groups()[0].__class__("", "", "", 7, 1.0)


def _chained() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        raise LookupError(f"no card {SECRET}") from error


def _grouped() -> None:
    raise ExceptionGroup(SECRET, [ValueError(SECRET), KeyError(SECRET)])


def _noted() -> None:
    error = ValueError(f"first line {SECRET}\n{SECRET} second line\n    {SECRET} indented")
    error.add_note(f"a note with {SECRET}")
    raise error


def _evaluated() -> None:
    eval(f"{SECRET} !")


def _quoted() -> None:
    """A record that is a log, with a traceback in it."""
    raise ValueError(
        f'cannot read\nTraceback (most recent call last):\n  File "{SECRET}", line 1, in {SECRET}\n    {SECRET}'
    )


_of_no_file: dict[str, Any] = {}
exec(
    f"""
def _of_no_source():
    raise ValueError("first line {SECRET}\\n  {SECRET} indented\\n    {SECRET} more so")

def _evaluated_by_it():
    eval("{SECRET} !")
""",
    _of_no_file,
)
_of_no_source, _evaluated_by_it = _of_no_file["_of_no_source"], _of_no_file["_evaluated_by_it"]


@pytest.mark.parametrize("broken", [_chained, _grouped, _noted, _evaluated, _quoted, _of_no_source, _evaluated_by_it])
def test_a_traceback_is_kept_without_what_its_errors_say(broken: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:
        broken()
    text = "".join(traceback.format_exception(caught.value))
    assert SECRET in text
    kept = frames_of(text)
    assert SECRET not in kept
    assert f"in {broken.__name__}" in kept
    assert type(caught.value).__name__ in kept


def test_the_frames_of_a_chain_are_all_there_in_order() -> None:
    with pytest.raises(LookupError) as caught:
        _chained()
    kept = frames_of("".join(traceback.format_exception(caught.value))).splitlines()
    assert [line for line in kept if not line.startswith(" ") and "Traceback" not in line] == [
        "ValueError",
        "The above exception was the direct cause of the following exception:",
        "LookupError",
    ]


def test_of_a_long_traceback_the_last_frames_are_kept_and_the_error() -> None:
    frames = "".join(f'  File "shop.py", line {n}, in step\n    price(record)\n' for n in range(1, 1_001))
    kept = frames_of(f"Traceback (most recent call last):\n{frames}ValueError: {SECRET * 10_000}\n")
    assert MOST_TRACEBACK - 100 < len(kept) <= MOST_TRACEBACK
    assert kept.endswith('  File "shop.py", line 1000, in step\n    price(record)\nValueError')


@given(st.text(max_size=300))
def test_any_text_is_taken_for_a_traceback(text: str) -> None:
    assert len(frames_of(text)) <= len(text)
