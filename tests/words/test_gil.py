"""Whether there is a GIL: asked of the interpreter, each time."""

from __future__ import annotations

import sys
import sysconfig

import pytest

from pipeframe_async.gil import gil_enabled


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
