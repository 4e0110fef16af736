"""Whether there is a GIL: asked of the interpreter, each time; and copies of what other threads change."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections import deque

import pytest

from pipeframe_async.gil import copied, gil_enabled


def test_an_interpreter_that_is_not_built_without_one_has_one() -> None:
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert gil_enabled()


def test_it_is_asked_each_time_since_an_import_may_turn_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for enabled in (False, True, False):
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda on=enabled: on, raising=False)
        assert gil_enabled() is enabled


def test_an_interpreter_that_does_not_say_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    assert gil_enabled()


def test_a_deque_that_changes_while_it_is_copied_is_copied_again() -> None:
    class Changes(deque[int]):
        tries = 0

        def copy(self) -> Changes:
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError("deque mutated during iteration")
            return Changes(self)

    values = Changes([1, 2])
    assert [*copied(values)] == [1, 2]
    assert values.tries == 3


def test_a_copy_has_what_was_there_at_one_time_whatever_another_thread_does() -> None:
    """Consecutive numbers, for they are added behind and taken in front."""
    values, ended = deque(range(100)), threading.Event()

    def changes() -> None:
        number = 100
        while not ended.is_set():
            values.append(number)
            values.popleft()
            number += 1

    other = threading.Thread(target=changes)
    other.start()
    try:
        for _ in range(20):
            copy = copied(values)
            assert [*copy] == [*range(copy[0], copy[0] + len(copy))]
    finally:
        ended.set()
        other.join()
