"""A failure has what was raised, and says which child of its record it is."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import Child, Failure, PipeFrame, PipelineEngine, StepError, apply, expand

WHERE = pytest.mark.parametrize("executor", ["inline", "threads", "processes", "auto"])


class NotFound(Exception):
    """Has data of its own, and other arguments than what it shows."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.status, self.key = 404, key


class Odd(Exception):
    """Cannot be made again of its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)


class Heavy(Exception):
    """Holds more than a failure ought to carry."""

    def __init__(self, size: int = 200_000) -> None:
        super().__init__()
        self.data = bytes(size)


def raises(what: str) -> Any:
    match what:
        case "not found":
            raise NotFound("k")
        case "odd":
            raise Odd(1, 2)
        case "heavy":
            raise Heavy
        case "lambda":
            raise ValueError(lambda: None)
        case "exit":
            raise SystemExit(3)
    return what  # of the wrong shape


async def raises_on_the_loop(what: str) -> Any:
    raises(what)


class Raises(PipelineEngine[str, Any]):
    steps: Any = (raises,)
    max_failures = None

    def __init__(self, *records: Any) -> None:
        self.feed = records
        self.failures: list[Failure[Any]] = []

    def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures


@WHERE
@pytest.mark.parametrize("step", [raises, raises_on_the_loop])
async def test_a_failure_has_what_was_raised_where_it_has_a_pickle(executor: Any, step: Any) -> None:
    pipeline = Raises("not found", "odd", "heavy", "lambda", "exit", "shape")
    pipeline.steps = (step,)
    await PipeFrame(1, executor=executor).run(pipeline)
    found, odd, heavy, strange, left, shape = pipeline.failures
    assert isinstance(found.exception, NotFound)
    assert (found.exception.status, found.exception.key) == (404, "k")
    assert isinstance(left.exception, SystemExit)
    assert [failure.exception for failure in (odd, heavy, strange, shape)] == [None] * 4
    assert [failure.error_type for failure in (odd, heavy, strange)] == ["Odd", "Heavy", "ValueError"]
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert isinstance(again.exception, NotFound)


@WHERE
async def test_the_error_of_a_call_has_it_as_its_cause(executor: Any) -> None:
    async with PipeFrame(1, executor=executor) as frame:
        with pytest.raises(StepError) as caught:
            await frame.call(Raises, "not found")
        assert isinstance(caught.value.__cause__, NotFound)
        with pytest.raises(StepError) as caught:
            await frame.call(Raises, "odd")
        assert caught.value.__cause__ is None


async def number_of(text: str) -> Any:
    await asyncio.sleep(0)
    return int(text), True


@WHERE
@pytest.mark.parametrize("last", [apply(int), number_of])
async def test_a_child_that_failed_is_known_by_its_number_and_value(executor: Any, last: Any) -> None:
    pipeline = Raises("1 x 3 y", "4", "z")
    pipeline.steps = (expand(str.split), last)
    await PipeFrame(2, executor=executor).run(pipeline)
    assert [(failure.record, failure.child) for failure in pipeline.failures] == [
        ("1 x 3 y", Child((1,), "x")),
        ("1 x 3 y", Child((3,), "y")),
        ("z", Child((0,), "z")) if last is not number_of else ("z", None),
    ]
    assert "over child 3: invalid literal" in str(pipeline.failures[1])
    assert "'y'" not in repr(pipeline.failures[1].child)


def halves(text: str) -> Iterator[Any]:
    for half in text.split("-"):
        if not half:
            raise OSError("an empty half")
        yield half, True


@WHERE
async def test_of_children_of_children_the_whole_path_is_known(executor: Any) -> None:
    pipeline = Raises("1-2 3-x 4- 5")
    pipeline.steps = (expand(str.split), halves, apply(int))
    await PipeFrame(1, executor=executor).run(pipeline)
    assert [(failure.error_type, failure.child) for failure in pipeline.failures] == [
        ("ValueError", Child((1, 1), "x")),
        ("OSError", Child((2,), "4-")),
    ]
    assert pipeline.failures[0].child is not None
    assert pipeline.failures[0].child.number == 1


async def halves_on_the_loop(text: str) -> Any:
    for half in text.split("-"):
        yield half, True


async def test_the_path_goes_on_through_async_steps_and_back() -> None:
    pipeline = Raises("1-2 3-x")
    pipeline.steps = (expand(str.split), halves_on_the_loop, apply(int))
    await PipeFrame(1).run(pipeline)
    (failure,) = pipeline.failures
    assert (failure.record, failure.child) == ("1-2 3-x", Child((1, 1), "x"))


async def passed_on(record: Any) -> Any:
    return record, True


def hangs_or_dies(text: str) -> Any:
    if text == "hang":
        time.sleep(60)
    if text == "die":
        os._exit(1)
    return text, True


@pytest.mark.parametrize(("between", "known"), [([], False), ([passed_on], True)])
@pytest.mark.parametrize(("what", "kind"), [("hang", "timeout"), ("die", "crashed")])
async def test_where_a_worker_was_ended_the_child_is_known_behind_an_async_step(
    what: str, kind: str, between: list[Any], known: bool
) -> None:
    pipeline = Raises(f"1 {what} 2")
    pipeline.steps = (expand(str.split), *between, hangs_or_dies)
    pipeline.time_limit = 0.3
    await PipeFrame(1).run(pipeline)
    (failure,) = pipeline.failures
    assert (failure.kind, failure.child) == (kind, Child((1,), what) if known else None)


def keeps_a_lambda(text: str) -> Any:
    yield (lambda: None), True


def fails(value: Any) -> Any:
    raise ValueError


async def test_a_child_without_a_pickle_has_no_value() -> None:
    pipeline = Raises("1")
    pipeline.steps = (keeps_a_lambda, fails)
    await PipeFrame(1).run(pipeline)
    assert [failure.child for failure in pipeline.failures] == [Child((0,), None)]
