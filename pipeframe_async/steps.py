"""`apply`, `keep_if`, `expand`: ordinary functions made into steps.

Callable objects rather than closures, so that they pickle by reference to what they wrap.
Workers import this module: it stays thin.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from functools import partial
from typing import Generic, TypeVar, cast

from pipeframe_async.errors import ConfigError
from pipeframe_async.model import DROP, Drop

A = TypeVar("A")
B = TypeVar("B")


class Wrapped(Generic[A, B]):
    """What the three have in common: the wrapped function, and its name for reports."""

    __slots__ = ("__name__", "fn")
    verb = ""

    def __init__(self, fn: Callable[[A], B]) -> None:
        if not callable(fn):
            raise ConfigError(f"{self.verb}({fn!r}): needs a function of one record")
        self.fn = fn
        self.__name__ = step_name(fn)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.fn,)

    def __repr__(self) -> str:
        return f"<step {self.__name__} by {type(self).__name__}>"


class Apply(Wrapped[A, B]):
    """Go on with what the function returns."""

    __slots__ = ()
    verb = "apply"

    def __call__(self, record: A) -> tuple[B, bool]:
        return self.fn(record), True


class Named(Apply[A, B]):
    """`Apply` under a name of its own: what a source decodes its records with, and a sink encodes them."""

    __slots__ = ()

    def __init__(self, name: str, fn: Callable[[A], B]) -> None:
        super().__init__(fn)
        self.__name__ = name

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.__name__, self.fn)


class OnLoop(Named[A, B]):
    """The same, called on the loop: where async steps stand next to it, a worker would be out of the way."""

    __slots__ = ()


class KeepIf(Wrapped[A, object]):
    """Go on with the record if the predicate holds, else filter it."""

    __slots__ = ()
    verb = "keep_if"

    def __call__(self, record: A) -> tuple[A, bool] | Drop:
        return (record, True) if self.fn(record) else DROP


class Expand(Wrapped[A, Iterable[B]]):
    """Fan out: go on with each item the function returns or yields."""

    __slots__ = ()
    verb = "expand"

    def __call__(self, record: A) -> Generator[tuple[B, bool], None, None]:
        for item in self.fn(record):
            yield item, True


class AsyncApply(Wrapped[A, Awaitable[B]]):
    """`Apply` of an `async def` function: a step for the loop."""

    __slots__ = ()
    verb = "apply"

    async def __call__(self, record: A) -> tuple[B, bool]:
        return await self.fn(record), True


class AsyncKeepIf(Wrapped[A, Awaitable[object]]):
    """`KeepIf` of an `async def` function."""

    __slots__ = ()
    verb = "keep_if"

    async def __call__(self, record: A) -> tuple[A, bool] | Drop:
        return (record, True) if await self.fn(record) else DROP


class AsyncExpand(Wrapped[A, AsyncIterable[B] | Awaitable[Iterable[B]]]):
    """`Expand` of an async generator function, or of an `async def` function that returns an iterable."""

    __slots__ = ()
    verb = "expand"

    async def __call__(self, record: A) -> AsyncGenerator[tuple[B, bool], None]:
        items = self.fn(record)
        if isinstance(items, AsyncIterable):
            async for item in items:
                yield item, True
            return
        for item in await items:
            yield item, True


def apply(fn: Callable[[A], B]) -> Apply[A, B]:
    """Make a step of a function from record to record.

    Args:
        fn: gets the record, returns the next one. Runs in a worker process; on the loop where it is `async def`.

    Returns:
        A step for `PipelineEngine.steps`, named after `fn` in reports.

    Raises:
        ConfigError: `fn` is not callable.
    """
    return Apply(fn)


def keep_if(predicate: Callable[[A], object]) -> KeepIf[A]:
    """Make a step that filters: records for which `predicate` is false end here (counted `filtered`).

    Args:
        predicate: gets the record; its truth decides. Runs in a worker process; on the loop where it is `async def`.

    Returns:
        A step for `PipelineEngine.steps`, named after `predicate` in reports.

    Raises:
        ConfigError: `predicate` is not callable.
    """
    return KeepIf(predicate)


def expand(fn: Callable[[A], Iterable[B] | AsyncIterable[B] | Awaitable[Iterable[B]]]) -> Expand[A, B]:
    """Make a step that fans out: each item of the iterable `fn` returns goes on by itself.

    Args:
        fn: gets the record, returns an iterable or is a generator function. No items: filtered. Where it is
            `async def`, with `yield` or without, the step runs on the loop. Items of one record leave their worker
            while it goes on, about half of `buffer_size` divided by the workers at a time; what has left stays where
            `fn` raises later. All are held together where there are fewer than 32 small ones, and in pipelines with
            `retry`, an `order` by key or async steps behind it, in `frame.call`, in several threads, and in an
            executor of yours.

    Returns:
        A step for `PipelineEngine.steps`, named after `fn` in reports.

    Raises:
        ConfigError: `fn` is not callable.
    """
    return Expand(cast(Callable[[A], Iterable[B]], fn))  # the plan makes another of it where it is async


def step_name(step: object) -> str:
    """The name a step goes by in reports and failures: a function's own, or that of what it wraps."""
    name = getattr(step, "__name__", None)
    if isinstance(name, str):
        return name
    return step_name(step.func) if isinstance(step, partial) else type(step).__name__
