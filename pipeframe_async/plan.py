"""A pipeline checked: everything that can be known to be wrong before a run starts is found here.

A `PipelineEngine` class or instance comes in, a frozen `Plan` goes out. Nothing is started or pickled.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, groupby
from types import FunctionType, MethodType
from typing import Any

from pipeframe_async._rules import knobs
from pipeframe_async._rules.feed_forms import Feed, feed_form
from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline import PipelineEngine, Retry
from pipeframe_async.steps import Apply, AsyncApply, AsyncExpand, AsyncKeepIf, Expand, KeepIf, Wrapped, step_name
from pipeframe_async.wire import ChainSpec

logger = logging.getLogger("pipeframe_async")


@dataclass(frozen=True, slots=True)
class DefSteps:
    """A run of `def` steps; `number`: which segment of the chain it is."""

    names: tuple[str, ...]
    number: int


@dataclass(frozen=True, slots=True)
class AsyncSteps:
    """A run of `async def` steps; `time_limit`: seconds one record may spend in it."""

    names: tuple[str, ...]
    steps: tuple[Callable[[Any], Any], ...]
    time_limit: float | None = None


Segment = DefSteps | AsyncSteps
"""Consecutive steps of one kind: `def` steps are fused and go to a worker, `async def` steps stay on the loop."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline as the engine runs it.

    `chain` is all its `def` steps, None where it has none; `feed` the bound feed of the class, or None; `order`
    `"input"`, `"completion"` or the function that gives a record's key. `fans_out`: whether a step makes any number of
    records of one. `sink`, `dead_letter` and `on_progress` are the bound hooks, or None.
    """

    name: str
    pipeline: PipelineEngine[Any, Any]
    segments: tuple[Segment, ...]
    chain: ChainSpec | None
    feed: Any
    source: str
    timeout: float | None
    order: str | Callable[[Any], Hashable]
    retry: Retry | None
    async_concurrency: int
    fans_out: bool
    max_failures: int | float | None
    sink: Callable[[list[Any]], Any] | None
    dead_letter: Callable[[list[Any]], Any] | None
    on_progress: Callable[[int], Any] | None
    batch_size: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """The steps' names."""
        return tuple(name for segment in self.segments for name in segment.names)


def plan_of(pipeline: object, *, streams: bool = False) -> Plan:
    """Check a pipeline and lay out how it runs.

    Args:
        pipeline: a `PipelineEngine` subclass, made without arguments, or an instance of one.
        streams: its results are iterated: where it does not say how it is fed, it streams until its feed ends.

    Raises:
        ConfigError: anything is wrong that can be known now; the message names it and the remedy.
    """
    engine = _instance(pipeline)
    name = type(engine).__name__
    as_said = not streams or _says(engine, "source")
    steps = _steps(engine, name)
    for hook in ("setup", "teardown"):
        _worker_hook(engine, name, hook)
    dead_letter = _hook(engine, name, "dead_letter")
    for said in _misspelt(type(engine), steps):
        logger.warning("%s has %s", name, said)
    return Plan(
        name=name,
        pipeline=engine,
        segments=(segments := _segments(engine, name, steps)),
        chain=_chain(engine, name, steps, segments),
        feed=getattr(engine, "feed", None),
        source=knobs.one_of(f"{name}.source", engine.source if as_said else "stream", ("batch", "stream")),
        timeout=None
        if engine.timeout is None or not (as_said or _says(engine, "timeout"))
        else knobs.seconds(f"{name}.timeout", engine.timeout, hint="None for no idle timeout"),
        order=_order(engine, name),
        retry=_retry(engine, name),
        async_concurrency=knobs.positive_int(f"{name}.async_concurrency", engine.async_concurrency),
        fans_out=any(_fans_out(step) for step in steps),
        max_failures=_max_failures(engine, name, dead_letter is not None),
        sink=_hook(engine, name, "sink"),
        dead_letter=dead_letter,
        on_progress=_hook(engine, name, "on_progress", 0, wanted="one int"),
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


def _says(engine: PipelineEngine[Any, Any], knob: str) -> bool:
    """Whether a pipeline sets a knob, and has not just our default of it."""
    return knob in vars(engine) or any(knob in vars(cls) for cls in type(engine).__mro__ if cls is not PipelineEngine)


_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("feed", "sink", "dead_letter", "on_progress", "setup", "teardown"), callable),
    **dict.fromkeys(
        ("timeout", "time_limit", "batch_size", "async_concurrency", "max_failures"),
        lambda value: isinstance(value, (int, float)),
    ),
    "source": lambda value: value in ("batch", "stream"),
    "order": lambda value: value in ("input", "completion") or callable(value),
    "steps": lambda value: isinstance(value, (list, tuple)) and all(map(callable, value)),
    "retry": lambda value: isinstance(value, Retry),
}
"""What a class may set, and whether a value is one for it."""


def _misspelt(engine: type, steps: Sequence[Callable[..., Any]]) -> Iterator[str]:
    """What a class sets that means nothing here, and looks like something that does."""
    for attribute, value in vars(engine).items():
        if (
            attribute.startswith("_")
            or attribute in _KINDS
            or any(value is one for step in steps for one in (step, getattr(step, "__func__", None)))
        ):
            continue
        for meant in _KINDS:
            if _letters(meant) == _letters(attribute) and meant not in vars(engine) and _KINDS[meant](value):
                yield f"`{attribute}`, which means nothing here: did you mean `{meant}`?"


def _letters(name: str) -> list[str]:
    """What two spellings of a name have in common: other underscores, a plural, letters that changed places."""
    return sorted(name.replace("_", "").rstrip("s"))


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
        raise ConfigError(
            f"{place} is the class {step.__name__}: apply({step.__name__}) makes a step of it, where calling it with a "
            "record is what is wanted; else pass an instance that can be called"
        )
    if not callable(step):
        raise ConfigError(f"{place}={step!r}: a step must be callable, a function of one record")
    _takes_one_record(place, step)
    if not _is_async(step):
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


def _is_async(step: Any) -> bool:
    """Whether it is run on the loop."""
    code = _called(step)
    return inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)


def _fans_out(step: Any) -> bool:
    """Whether it is known to make any number of records of one."""
    code = _called(step)
    if isinstance(step, (Expand, AsyncExpand)):
        return True
    return not isinstance(step, Wrapped) and (inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code))


def _segments(
    engine: PipelineEngine[Any, Any], name: str, steps: tuple[Callable[..., Any], ...]
) -> tuple[Segment, ...]:
    """The steps, as runs of the same kind."""
    limit, segments, numbers = _time_limit(engine, name), list[Segment](), count()
    for on_the_loop, group in groupby(steps, key=_is_async):
        run = tuple(group)
        names = tuple(map(step_name, run))
        segments.append(AsyncSteps(names, run, limit) if on_the_loop else DefSteps(names, next(numbers)))
    return tuple(segments)


def _chain(
    engine: PipelineEngine[Any, Any], name: str, steps: tuple[Callable[..., Any], ...], segments: tuple[Segment, ...]
) -> ChainSpec | None:
    """All `def` steps, as they are shipped."""
    shipped = tuple(step for step in steps if not _is_async(step))
    lengths = tuple(len(segment.names) for segment in segments if isinstance(segment, DefSteps))
    retry = _retry(engine, name)
    return (
        None
        if not shipped
        else ChainSpec(
            names=tuple(map(step_name, shipped)),
            steps=shipped,
            pipeline=engine if _travels(engine, shipped) else None,
            time_limit=_time_limit(engine, name),
            retry_on=() if retry is None else retry.on,
            segments=lengths if len(lengths) > 1 else (),
        )
    )


def _time_limit(engine: PipelineEngine[Any, Any], name: str) -> float | None:
    if engine.time_limit is None:
        return None
    return knobs.seconds(f"{name}.time_limit", engine.time_limit, hint="None for no limit")


def _is_method(engine: PipelineEngine[Any, Any], step: FunctionType) -> bool:
    """Whether a plain function in `steps` is one of the pipeline's own methods, named in the class body."""
    return any(vars(cls).get(step.__name__) is step for cls in type(engine).__mro__)


def _called(step: Any) -> Any:
    """The function that runs when the step is called: inside partials, our own wrappers and callable objects."""
    while isinstance(step, (partial, Wrapped)):
        step = step.func if isinstance(step, partial) else step.fn
    return step if inspect.isroutine(step) else getattr(type(step), "__call__", step)  # noqa: B004 - its code, not a test


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Of what is called, and not of what that wraps: a decorator may pass more to it, or less."""
    return inspect.signature(function, follow_wrapped=False)


def _takes_one_record(place: str, step: Callable[..., Any]) -> None:
    try:
        _signature(step).bind(object())
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


def _retry(engine: PipelineEngine[Any, Any], name: str) -> Retry | None:
    if engine.retry is not None and not isinstance(engine.retry, Retry):
        raise ConfigError(f"{name}.retry={engine.retry!r}: must be a Retry, e.g. Retry(3), or None for one attempt")
    return engine.retry


def _worker_hook(engine: PipelineEngine[Any, Any], name: str, hook: str) -> None:
    """`setup` and `teardown` are called in a worker, where nothing awaits."""
    if (function := getattr(engine, hook, None)) is None:
        return
    if not callable(function) or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name}.{hook}={function!r}: must be a def method; it runs in the workers")
    _callable_with(f"{name}.{hook}", function)


def _hook(
    engine: PipelineEngine[Any, Any], name: str, hook: str, given: object = (), *, wanted: str = "one list"
) -> Callable[[Any], Any] | None:
    function = getattr(engine, hook, None)
    if function is None:
        return None
    if not callable(function):
        raise ConfigError(f"{name}.{hook}={function!r}: must be a method that takes {wanted}")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"{name}.{hook} is a generator function: it takes {wanted} and returns, it does not yield")
    _callable_with(f"{name}.{hook}", function, given, wanted=wanted)
    return function  # type: ignore[no-any-return]


def _callable_with(place: str, function: Callable[..., Any], *arguments: object, wanted: str = "no arguments") -> None:
    try:
        _signature(function).bind(*arguments)
    except TypeError as error:
        raise ConfigError(f"{place} cannot be called with {wanted}: {error}") from error
    except ValueError:
        return  # a builtin without a signature: only calling it will tell


def _order(engine: PipelineEngine[Any, Any], name: str) -> str | Callable[[Any], Hashable]:
    order: Any = inspect.getattr_static(engine, "order")
    if not isinstance(order, FunctionType):  # a function in the class body is used as it is, and not bound
        order = engine.order
    if isinstance(order, str) or not callable(order):
        return knobs.one_of(f"{name}.order", order, ("input", "completion"), also="a function of the record")
    if inspect.iscoroutinefunction(order) or inspect.isgeneratorfunction(order):
        raise ConfigError(f"{name}.order={order!r}: must be a def function that returns the record's key")
    _callable_with(f"{name}.order", order, object(), wanted="one record")
    return order  # type: ignore[no-any-return]


def _max_failures(engine: PipelineEngine[Any, Any], name: str, has_dead_letter: bool) -> int | float | None:
    default = None if has_dead_letter else 0
    return knobs.failure_limit(f"{name}.max_failures", getattr(engine, "max_failures", default))


def _batch_size(engine: PipelineEngine[Any, Any], name: str) -> int | None:
    if engine.batch_size is None:
        return None
    return knobs.positive_int(f"{name}.batch_size", engine.batch_size, hint="None lets it tune itself")
