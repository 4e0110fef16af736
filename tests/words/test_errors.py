"""Errors say who must act, and lose nothing on their way between processes."""

from __future__ import annotations

import copy
import pickle
from asyncio import CancelledError
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor

import pytest

import pipeframe_async
from pipeframe_async import errors
from pipeframe_async.errors import ConfigError, PipeFrameError, PipelineFailed, StateError
from pipeframe_async.model import Failure
from pipeframe_async.report import RunReport


def tree(root: type[PipeFrameError] = PipeFrameError) -> Iterator[type[PipeFrameError]]:
    yield root
    for below in root.__subclasses__():
        if below.__module__.startswith("pipeframe_async"):
            yield from tree(below)


EVERY_ERROR = pytest.mark.parametrize("error", list(tree()), ids=lambda error: error.__name__)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
REPORT = RunReport(fed=3, delivered=2, failed=1, ended_by="failed")
FAILURES = (
    Failure({"n": 1}, "parse", "raised", "ValueError", "bad", "Traceback …", attempts=2),
    Failure("x", "price", "unpicklable", "TypeError", "cannot pickle"),
)


@EVERY_ERROR
def test_every_error_survives_pickling_whole(error: type[PipeFrameError]) -> None:
    raised = error("it went wrong in lane 3")
    raised.report = REPORT
    raised.add_note("In the worker:\nTraceback …")
    for protocol in PROTOCOLS:
        again = pickle.loads(pickle.dumps(raised, protocol))
        assert type(again) is error
        assert str(again) == "it went wrong in lane 3"
        assert again.report == REPORT
        assert again.__notes__ == ["In the worker:\nTraceback …"]


def test_the_failures_of_a_failed_run_survive_pickling() -> None:
    for protocol in PROTOCOLS:
        again = pickle.loads(pickle.dumps(PipelineFailed("2 records failed", FAILURES, REPORT), protocol))
        assert again.failures == FAILURES
        assert again.report == REPORT
        assert str(again) == "2 records failed"


@EVERY_ERROR
def test_every_error_survives_copying(error: type[PipeFrameError]) -> None:
    raised = error("message")
    raised.report = REPORT
    for again in (copy.copy(raised), copy.deepcopy(raised)):
        assert type(again) is error
        assert (str(again), again.report) == ("message", REPORT)


@EVERY_ERROR
def test_an_error_is_printed_as_its_message(error: type[PipeFrameError]) -> None:
    assert str(error("message")) == "message"
    assert error("message").report is None


@EVERY_ERROR
def test_no_error_is_mistaken_for_control_flow(error: type[PipeFrameError]) -> None:
    assert not issubclass(error, CancelledError | TimeoutError | BrokenExecutor | OSError | StopIteration)


@EVERY_ERROR
def test_every_error_is_public_and_drawn_in_the_tree(error: type[PipeFrameError]) -> None:
    assert getattr(pipeframe_async, error.__name__) is error
    assert error.__name__ in pipeframe_async.__all__
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_errors_that_python_has_a_word_for_are_those_too() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(StateError, RuntimeError)


def test_a_failed_run_keeps_its_failures_in_the_order_it_was_given() -> None:
    error = PipelineFailed("2 records failed", list(FAILURES))
    assert error.failures == FAILURES
    assert error.report is None
    assert PipelineFailed("nothing to show").failures == ()


def test_every_public_name_is_there_and_listed() -> None:
    for name in pipeframe_async.__all__:
        assert getattr(pipeframe_async, name) is not None
    assert set(pipeframe_async.__all__) <= set(dir(pipeframe_async))
    assert set(pipeframe_async._HOMES) == set(pipeframe_async.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Pipeframe'"):
        pipeframe_async.Pipeframe  # type: ignore[attr-defined]  # noqa: B018
