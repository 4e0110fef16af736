"""A pipeline checked: everything that can be known to be wrong before a run starts is found here.

A `PipelineEngine` class or instance comes in, a frozen `Plan` goes out. Nothing is started or pickled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from pipeframe_async._rules import knobs
from pipeframe_async._rules.feed_forms import Feed, feed_form
from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline import PipelineEngine
from pipeframe_async.steps import Wrapped, step_name
from pipeframe_async.wire import ChainSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline as the engine runs it. `feed` is the bound feed of the class, or None.

    `sink` and `dead_letter` are the bound hooks, or None.
    """

    name: str
    pipeline: PipelineEngine[Any, Any]
    chain: ChainSpec
    feed: Any
    source: str
    timeout: float | None
    keep_order: bool
    max_failures: int | float | None
    sink: Callable[[list[Any]], Any] | None
    dead_letter: Callable[[list[Any]], Any] | None
    batch_size: int | None


def plan_of(pipeline: object) -> Plan:
    """Check a pipeline and lay out how it runs.

    Args:
        pipeline: a `PipelineEngine` subclass, made without arguments, or an instance of one.

    Raises:
        ConfigError: anything is wrong that can be known now; the message names it and the remedy.
    """
    engine = _instance(pipeline)
    name = type(engine).__name__
    steps = _steps(engine, name)
    _not_yet(engine, name)
    for hook in ("setup", "teardown"):
        _worker_hook(engine, name, hook)
    dead_letter = _hook(engine, name, "dead_letter")
    return Plan(
        name=name,
        pipeline=engine,
        chain=ChainSpec(
            names=tuple(map(step_name, steps)),
            steps=steps,
            pipeline=engine if _travels(engine, steps) else None,
            time_limit=None
            if engine.time_limit is None
            else knobs.seconds(f"{name}.time_limit", engine.time_limit, hint="None for no limit"),
        ),
        feed=getattr(engine, "feed", None),
        source=knobs.one_of(f"{name}.source", engine.source, ("batch", "stream")),
        timeout=None
        if engine.timeout is None
        else knobs.seconds(f"{name}.timeout", engine.timeout, hint="None for no idle timeout"),
        keep_order=_order(engine, name) == "input",
        max_failures=_max_failures(engine, name, dead_letter is not None),
        sink=_hook(engine, name, "sink"),
        dead_letter=dead_letter,
        batch_size=_batch_size(engine, name),
    )


def feed_of(plan: Plan, given: Any = None) -> Feed:
    """The feed of a run and how it is pulled: what was given in its place, or the pipeline's own.

    Raises:
        ConfigError: it is no feed; the message says what it is and what to write.
    """
    return feed_form(plan.feed if given is None else given, plan.name)


def _instance(pipeline: object) -> PipelineEngine[Any, Any]:
    if isinstance(pipeline, PipelineEngine):
        return pipeline
    if not isinstance(pipeline, type) or not issubclass(pipeline, PipelineEngine):
        raise ConfigError(f"{pipeline!r} is no pipeline: pass a subclass of PipelineEngine, or an instance of one")
    if pipeline is PipelineEngine:
        raise ConfigError("PipelineEngine itself has no steps: subclass it and pass the subclass")
    try:
        inspect.signature(pipeline).bind()
    except TypeError as error:
        raise ConfigError(
            f"{pipeline.__name__}() cannot be made without arguments ({error}): pass an instance, "
            f"e.g. run({pipeline.__name__}(...))"
        ) from error
    return pipeline()


def _steps(engine: PipelineEngine[Any, Any], name: str) -> tuple[Callable[..., Any], ...]:
    steps = engine.steps
    if callable(steps) or isinstance(steps, (str, bytes)) or not isinstance(steps, Sequence):
        raise ConfigError(f"{name}.steps={steps!r}: must be a list of steps")
    if not (listed := list(steps)):
        raise ConfigError(f"{name}.steps is empty: list at least one step, e.g. steps = [parse]")
    return tuple(_step(engine, f"{name}.steps[{i}]", step) for i, step in enumerate(listed))


def _step(engine: PipelineEngine[Any, Any], place: str, step: Any) -> Callable[..., Any]:
    if isinstance(step, (staticmethod, classmethod)):
        step = step.__get__(engine, type(engine))
    elif isinstance(step, FunctionType) and _is_method(engine, step):
        step = MethodType(step, engine)
    if isinstance(step, type):
        raise ConfigError(f"{place} is the class {step.__name__}: pass an instance, e.g. {step.__name__}()")
    if not callable(step):
        raise ConfigError(f"{place}={step!r}: a step must be callable, a function of one record")
    code = _called(step)
    if inspect.isasyncgenfunction(code):
        raise ConfigError(
            f"{place} ({step_name(step)}) is an async generator: a step is a def or async def function; "
            "to fan out, make it a plain generator function"
        )
    if inspect.iscoroutinefunction(code):
        raise ConfigError(
            f"{place} ({step_name(step)}) is async def: steps run in worker processes and must be def; "
            "await in the feed or the sink instead"
        )
    _takes_one_record(place, step)
    return step  # type: ignore[no-any-return]


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
        inspect.signature(step).bind(object())
    except TypeError as error:
        raise ConfigError(
            f"{place} ({step_name(step)}) cannot be called with one record: {error}; "
            "a step takes the record and nothing else (functools.partial binds the rest)"
        ) from error
    except ValueError:
        return  # a builtin without a signature: only calling it will tell


def _travels(engine: PipelineEngine[Any, Any], steps: tuple[Callable[..., Any], ...]) -> bool:
    """Whether workers need the pipeline itself."""
    if any(getattr(engine, hook, None) is not None for hook in ("setup", "teardown")):
        return True
    return any(getattr(step, "__self__", None) is engine for step in steps)


def _not_yet(engine: PipelineEngine[Any, Any], name: str) -> None:
    """What is part of the contract and not built yet: refused, for a promise that is not kept is a trap."""
    if engine.retry is not None:
        raise ConfigError(f"{name}.retry={engine.retry!r}: not available in this version; leave it at None")


def _worker_hook(engine: PipelineEngine[Any, Any], name: str, hook: str) -> None:
    """`setup` and `teardown` are called in a worker, where nothing awaits."""
    if (function := getattr(engine, hook, None)) is None:
        return
    if not callable(function) or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name}.{hook}={function!r}: must be a def method; it runs in the workers")
    _callable_with(f"{name}.{hook}", function)


def _hook(engine: PipelineEngine[Any, Any], name: str, hook: str) -> Callable[[list[Any]], Any] | None:
    function = getattr(engine, hook, None)
    if function is None:
        return None
    if not callable(function):
        raise ConfigError(f"{name}.{hook}={function!r}: must be a method that takes a list")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"{name}.{hook} is a generator function: it takes a list and returns, it does not yield")
    _callable_with(f"{name}.{hook}", function, [])
    return function  # type: ignore[no-any-return]


def _callable_with(place: str, function: Callable[..., Any], *arguments: object) -> None:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        wanted = "one list" if arguments else "no arguments"
        raise ConfigError(f"{place} cannot be called with {wanted}: {error}") from error
    except ValueError:
        return  # a builtin without a signature: only calling it will tell


def _order(engine: PipelineEngine[Any, Any], name: str) -> str:
    if callable(engine.order):
        raise ConfigError(
            f"{name}.order={engine.order!r}: order by key is not available yet; 'input' keeps every order"
        )
    return knobs.one_of(f"{name}.order", engine.order, ("input", "completion"))


def _max_failures(engine: PipelineEngine[Any, Any], name: str, has_dead_letter: bool) -> int | float | None:
    default = None if has_dead_letter else 0
    return knobs.failure_limit(f"{name}.max_failures", getattr(engine, "max_failures", default))


def _batch_size(engine: PipelineEngine[Any, Any], name: str) -> int | None:
    if engine.batch_size is None:
        return None
    return knobs.positive_int(f"{name}.batch_size", engine.batch_size, hint="None lets it tune itself")
