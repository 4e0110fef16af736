"""What a step is, by looking at what is called; what is refused is in `tests/words/test_plan.py`, with its message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from pipeframe_async import PipelineEngine, apply, expand, keep_if, vectorize
from pipeframe_async._rules.step_forms import fans_out, is_async, steps_of
from pipeframe_async.plan import plan_of
from pipeframe_async.steps import Apply, AsyncApply, Named, OnLoop, Vectorize


def plain(record: Any) -> tuple[Any, bool]:
    return record, True


def many(record: Any) -> Iterator[tuple[Any, bool]]:
    yield record, True


async def awaits(record: Any) -> tuple[Any, bool]:
    return record, True


async def awaits_many(record: Any) -> AsyncIterator[tuple[Any, bool]]:
    yield record, True


class Called:
    async def __call__(self, record: Any) -> tuple[Any, bool]:
        return record, True


@pytest.mark.parametrize(
    ("step", "on_the_loop", "any_number"),
    [
        (plain, False, False),
        (many, False, True),
        (awaits, True, False),
        (awaits_many, True, True),
        (Called(), True, False),
        (partial(awaits), True, False),
        (apply(awaits), True, False),
        (keep_if(plain), False, False),
        (expand(plain), False, True),
        (apply(many), False, False),
        (Named("decode", plain), False, False),
        (OnLoop("decode", plain), True, False),
    ],
)
def test_where_a_step_runs_and_whether_it_fans_out(step: Any, on_the_loop: bool, any_number: bool) -> None:
    assert (is_async(step), fans_out(step)) == (on_the_loop, any_number)


def test_methods_named_in_the_class_body_are_bound_and_async_functions_awaited() -> None:
    class Bound(PipelineEngine[Any, Any]):
        def own(self, record: Any) -> tuple[Any, bool]:
            return record, True

        steps = (own, staticmethod(plain), apply(awaits))

    engine = Bound()
    own, static, awaiting = steps_of(engine, "Bound")
    assert own == engine.own
    assert static is plain
    assert type(awaiting) is AsyncApply


def test_methods_that_are_wrapped_in_the_class_body_are_bound_too() -> None:
    class Bound(PipelineEngine[Any, Any]):
        def own(self, record: Any) -> Any:
            return self, record

        async def waits(self, record: Any) -> Any:
            return self, record

        functions: Any = own, waits  # a type checker sees that they are not bound yet
        steps = (apply(functions[0]), vectorize(functions[0], 8), apply(functions[1]), apply(plain))

    engine = Bound()
    one, many, waits, other = steps_of(engine, "Bound")
    assert isinstance(one, Apply)
    assert one("record") == ((engine, "record"), True)
    assert isinstance(many, Vectorize)
    assert (many([1]), many.size) == ((engine, [1]), 8)
    assert isinstance(waits, AsyncApply)
    assert waits.fn == engine.waits
    assert other is Bound.steps[3]
    plan = plan_of(Bound)
    assert plan.chain is not None
    assert plan.chain.pipeline is not None
