"""Which named thing is the reason that something cannot be sent."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

import pytest

from pipeframe_async.executors.blaming import culprit

SOURCE = """
import threading
LOCK = threading.Lock()
NUMBERS = (n for n in range(3))
class Counter:
    def go(self): return next(NUMBERS)
class Holder:
    source = NUMBERS
def direct(r):
    with LOCK: return next(NUMBERS)
def indirect(r): return Counter().go()
def through(r): return Holder.source
def fine(r):
    with LOCK: return r
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("__main__")
    exec(SOURCE, module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("direct", "the global 'NUMBERS' of __main__"),
        ("indirect", "the global 'NUMBERS' of __main__"),
        ("through", "the attribute 'source' of Holder"),
    ],
)
def test_the_name_is_that_of_what_does_not_travel(main: ModuleType, name: str, path: str) -> None:
    for value in (getattr(main, name), functools.partial(getattr(main, name), 1)):
        found = culprit(value, "")
        assert found is not None
        assert (found.path, found.held) == (path, True)
        assert "generator" in str(found.error)


def test_what_travels_has_no_culprit(main: ModuleType) -> None:
    assert culprit(main.fine, "") is None


def test_a_variable_of_a_closure_is_named(main: ModuleType) -> None:
    numbers = (n for n in range(3))

    def step(record: Any) -> Any:
        return next(numbers)

    found = culprit(step, "")
    assert found is not None
    assert found.path.startswith("the variable 'numbers' of ")
    assert not found.held
