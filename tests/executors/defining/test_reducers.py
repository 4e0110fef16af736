"""Values that pickle does not know how to take apart: made again elsewhere, once a name."""

from __future__ import annotations

import contextvars
import dataclasses
import threading
import typing
import weakref
from types import ModuleType
from typing import Any

import pytest

from pipeframe_async._worker.standin import StandIns
from pipeframe_async.executors.defining.definer import define
from tests.executors.defining.there import made


def sent(value: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    return made(define((value,)), StandIns(), monkeypatch)[0]


def test_a_dispatching_function_knows_its_cases(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    (kind,) = made(define((program.kind,)), StandIns(), monkeypatch)
    assert (kind(1), kind("")) == ("int", "any")


def test_a_lock_that_a_class_holds_is_a_new_one_and_one_in_a_closure_is_refused(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = made(define((program.Item,)), StandIns(), monkeypatch)
    with item.lock, program.Item.lock:
        pass
    with pytest.raises(TypeError, match="lock"):
        define((program.Item.lock,))


def test_what_typing_makes_is_made_again_as_it_was(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    (number, many, kind, twice) = made(
        define((program.Number, program.Many, program.Kind, [program.Kind, program.Kind])), StandIns(), monkeypatch
    )
    assert (number.__name__, number.__supertype__, number(3)) == ("Number", int, 3)
    assert isinstance(many, typing.ParamSpec)
    assert (kind.__name__, kind.__bound__) == ("Kind", int)
    assert kind is twice[0] is twice[1]


def test_a_cache_is_empty_there_and_as_large_as_it_was(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    program.fib(5)
    fib = sent(program.fib, monkeypatch)
    assert (fib.cache_info().currsize, fib.cache_info().maxsize) == (0, 7)


def test_a_context_variable_has_its_default_and_not_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = contextvars.ContextVar("variable", default=1)
    variable.set(2)
    assert sent(variable, monkeypatch).get() == 1


def test_weak_dictionaries_and_marks_of_dataclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(sent(weakref.WeakValueDictionary(), monkeypatch), weakref.WeakValueDictionary)
    assert sent(dataclasses.MISSING, monkeypatch) is dataclasses.MISSING
    assert sent(dataclasses.KW_ONLY, monkeypatch) is dataclasses.KW_ONLY


def test_what_a_thread_has_for_itself_goes_only_inside_of_what_a_module_holds() -> None:
    assert define((threading.local(),), held=True).data
    with pytest.raises(TypeError, match="local"):
        define((threading.local(),))
