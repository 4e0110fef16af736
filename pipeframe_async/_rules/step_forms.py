"""What a step is, and where it runs: found before anything starts, by looking at what is called.

Comes in: a pipeline's `steps`. Goes out: the functions that are run, methods bound and async ones awaited.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.steps import (
    Apply,
    AsyncApply,
    AsyncExpand,
    AsyncKeepIf,
    Expand,
    KeepIf,
    OnLoop,
    Vectorize,
    Wrapped,
    step_name,
)


def steps_of(engine: PipelineEngine[Any, Any], name: str) -> tuple[Callable[..., Any], ...]:
    """A pipeline's steps, as they are run.

    Raises:
        ConfigError: one of them is no step; the message names it and the remedy.
    """
    steps = engine.steps
    if callable(steps) or isinstance(steps, (str, bytes)) or not isinstance(steps, Sequence):
        hint = f"; write `steps = [{_written(steps)}]`" if callable(steps) else ""
        raise ConfigError(f"{name}.steps={steps!r}: must be a list of steps{hint}")
    if not (listed := list(steps)):
        raise ConfigError(f"{name}.steps is empty: list at least one step, e.g. steps = [parse]")
    return tuple(_step(engine, f"{name}.steps[{i}]", step) for i, step in enumerate(listed))


def _written(step: Any) -> str:
    name = getattr(step, "__name__", "...")
    return f"{step.verb}({name})" if isinstance(step, Wrapped) else name


def _step(engine: PipelineEngine[Any, Any], place: str, step: Any) -> Callable[..., Any]:
    if isinstance(step, (staticmethod, classmethod)):
        step = step.__get__(engine, type(engine))
    elif isinstance(step, FunctionType) and _is_method(engine, step):
        step = MethodType(step, engine)
    elif isinstance(step, Wrapped) and isinstance(step.fn, FunctionType) and _is_method(engine, step.fn):
        step = step.of(MethodType(step.fn, engine))
    if isinstance(step, type):
        raise ConfigError(
            f"{place} is the class {step.__name__}: apply({step.__name__}) makes a step of it, where calling it with a "
            "record is what is wanted; else pass an instance that can be called"
        )
    if not callable(step):
        raise ConfigError(f"{place}={step!r}: a step must be callable, a function of one record")
    _takes_one_record(place, step)
    _takes_many(place, step)
    if not is_async(step):
        return step  # type: ignore[no-any-return]
    if isinstance(step, (Apply, KeepIf)) and inspect.isasyncgenfunction(_called(step)):
        raise ConfigError(
            f"{place} ({step_name(step)}) is {step.verb}() of an async generator: use expand(), or it as it is"
        )
    return _awaiting(step)


_AWAITING: dict[type, Callable[[Any], Callable[[Any], Any]]] = {
    Apply: AsyncApply,
    KeepIf: AsyncKeepIf,
    Expand: AsyncExpand,
}


def _awaiting(step: Any) -> Callable[[Any], Any]:
    """An async step, with wrappers that await what they wrap."""
    if isinstance(step, partial):
        return partial(_awaiting(step.func), *step.args, **step.keywords)
    return _AWAITING[type(step)](step.fn) if type(step) in _AWAITING else step


def is_async(step: Any) -> bool:
    """Whether it is run on the loop."""
    code = _called(step)
    return type(step) is OnLoop or inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)


def fans_out(step: Any) -> bool:
    """Whether it is known to make any number of records of one."""
    code = _called(step)
    if isinstance(step, (Expand, AsyncExpand)):
        return True
    return not isinstance(step, Wrapped) and (inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code))


def at_once(steps: Sequence[Callable[..., Any]]) -> int:
    """Most records that one of these steps takes in a call."""
    return max((step.size for step in steps if isinstance(step, Vectorize)), default=1)


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Of what is called, and not of what that wraps: a decorator may pass more to it, or less."""
    return inspect.signature(function, follow_wrapped=False)


def _is_method(engine: PipelineEngine[Any, Any], step: FunctionType) -> bool:
    """Whether a plain function in `steps` is one of the pipeline's own methods, named in the class body."""
    return any(vars(cls).get(step.__name__) is step for cls in type(engine).__mro__)


def _called(step: Any) -> Any:
    """The function that runs when the step is called: inside partials, our own wrappers and callable objects."""
    while isinstance(step, (partial, Wrapped)):
        step = step.func if isinstance(step, partial) else step.fn
    return step if inspect.isroutine(step) else getattr(type(step), "__call__", step)  # noqa: B004 - its code, not a test


def _takes_one_record(place: str, step: Callable[..., Any]) -> None:
    try:
        signature(step).bind(object())
    except TypeError as error:
        raise ConfigError(
            f"{place} ({step_name(step)}) cannot be called with one record: {error}; {_step_remedy(step)}"
        ) from error
    except ValueError:
        return  # a builtin without a signature: only calling it will tell


def _takes_many(place: str, step: Callable[..., Any]) -> None:
    """A vectorized step is called with a list in a worker, and gives a list back."""
    inner = step
    while isinstance(inner, partial):
        inner = inner.func
    if not isinstance(inner, Vectorize):
        return
    if inner is not step:
        raise ConfigError(f"{place} is a partial of vectorize(): write vectorize(partial(...)), which is one of `fn`")
    code = _called(step)
    if is_async(step):
        raise ConfigError(
            f"{place} ({step_name(step)}) is vectorize() of an async function: it is called in a worker, where nothing "
            "awaits. Use `def`; or an async step of one record, of which `async_concurrency` run at a time"
        )
    if inspect.isgeneratorfunction(code):
        raise ConfigError(
            f"{place} ({step_name(step)}) is vectorize() of a generator function: let it return a list with one item "
            "for each record; expand() makes any number of one"
        )


def _step_remedy(step: Callable[..., Any]) -> str:
    """What to write in place of a step that does not take one record."""
    if inspect.ismethod(step) and not signature(step).parameters:
        return f"it is a method: `def {step_name(step)}(self, record)`, or put @staticmethod above it"
    return "a step takes the record and nothing else (functools.partial binds the rest)"
