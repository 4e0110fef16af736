"""The public types carry through what a user writes, and refuse what is wrong: by mypy and pyright, both strict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.typing.checkers import Checker

HERE = Path(__file__).parent


@pytest.mark.timeout(180)
def test_what_a_user_writes_is_right(checker: Checker) -> None:
    assert checker(HERE / "user.py") == []


@pytest.mark.timeout(180)
def test_what_a_user_gets_wrong_is_told_where_it_is(checker: Checker) -> None:
    lines = (HERE / "wrong.py").read_text("utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "# wrong:" in line}
    assert {line for _, line, _ in checker(HERE / "wrong.py")} == wrong
