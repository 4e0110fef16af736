"""What a Dask worker is asked first, and which of them can have lanes."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from pipeframe_async.executors.dask.probing import Ours, expression, lease, misfit, refusal

OURS = Ours("3.11.7", "0.1.0", "3.1.3")
SAME = {"python": "3.11.2", "pipeframe_async": "0.1.0", "cloudpickle": "3.0.0"}


def test_a_worker_with_the_same_versions_fits() -> None:
    assert misfit(SAME, OURS) == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (SAME | {"python": "3.12.0"}, "it runs Python 3.12.0, and this program 3.11.7"),
        (SAME | {"pipeframe_async": "0.2.0"}, "it has pipeframe_async 0.2.0, and this program 0.1.0"),
        (SAME | {"cloudpickle": "2.2.1"}, "it has cloudpickle 2.2.1, and this program 3.1.3"),
        (SAME | {"problem": "OSError: no"}, "pipeframe_async cannot be used there: OSError: no"),
        (
            {"python": "3.11.0", "missing": "No module named 'pipeframe_async'"},
            "it does not have pipeframe_async (No module named 'pipeframe_async'): pip install it there",
        ),
        (RuntimeError("odd"), "it could not be asked: RuntimeError: odd"),
    ],
)
def test_another_does_not_and_it_is_said_why(answer: Any, why: str) -> None:
    assert misfit(answer, OURS) == why


def test_the_refusal_names_each_worker_and_what_it_lacks() -> None:
    assert refusal({"tcp://b:1": "it is old", "tcp://a:1": "it is new"}).splitlines()[1:] == [
        "  tcp://a:1: it is new",
        "  tcp://b:1: it is old",
    ]


def test_a_worker_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pipeframe_async"):
            raise ImportError("No module named 'pipeframe_async'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", lacking)
    answer = eval(expression("0.1.0"))
    assert "it does not have pipeframe_async" in misfit(answer, Ours.here())


def test_a_worker_of_another_version_installs_nothing() -> None:
    answer = eval(expression("0.0.0"))
    assert (answer["pipeframe_async"], "problem" in answer) == (Ours.here().library, False)


def test_what_is_sent_first_is_text_and_a_function_of_pythons_own() -> None:
    for text in (expression("0.1.0"), lease("key", None, 3)):
        compile(text, "sent", "eval")
