"""`apply`, `keep_if`, `expand`, `vectorize`: ordinary functions made into steps.

Callable objects rather than closures, so that they pickle by reference to what they wrap.
Workers import this module: it stays thin.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Collection, Generator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from pipeframe_async.errors import ConfigError
from pipeframe_async.model import DROP, Drop

if TYPE_CHECKING:
    from pipeframe_async.pipeline_engine import PipelineEngine

A = TypeVar("A")
B = TypeVar("B")
P = TypeVar("P", bound="PipelineEngine[Any, Any]")


class Wrapped(Generic[A, B]):
    """What they have in common: the wrapped function, and its name for reports."""

    __slots__ = ("__name__", "fn")
    verb = ""

    def __init__(self, fn: Callable[[A], B]) -> None:
        if not callable(fn):
            raise ConfigError(f"{self.verb}({fn!r}): needs a function of one record")
        self.fn = fn
        self.__name__ = step_name(fn)

    def of(self, fn: Callable[..., Any]) -> Self:
        """The same of another function."""
        return type(self)(fn)

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

    def of(self, fn: Callable[..., Any]) -> Self:
        return type(self)(self.__name__, fn)

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


class Vectorize(Wrapped[list[A], Collection[B | Drop]]):
    """Go on with each of what the function returns for many records at once; `size`: how many, at most."""

    __slots__ = ("size",)
    verb = "vectorize"

    def __init__(self, fn: Callable[[list[A]], Collection[B | Drop]], size: int) -> None:
        if not callable(fn):
            raise ConfigError(f"vectorize({fn!r}): needs a function of a list of records")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"vectorize({step_name(fn)}, size={size!r}): must be an int of at least 1")
        super().__init__(fn)
        self.size = size

    def of(self, fn: Callable[..., Any]) -> Self:
        return type(self)(fn, self.size)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.fn, self.size)

    def __call__(self, records: list[A]) -> Collection[B | Drop]:
        return self.fn(records)


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


# What they take is `Any`, not a type variable: a checker could not say what a lambda's parameter is. The second form of
# each is for a method of the pipeline, named in its class body.


@overload
def apply(fn: Callable[[Any], B]) -> Apply[Any, B]: ...
@overload
def apply(fn: Callable[[P, Any], B]) -> Apply[Any, B]: ...
def apply(fn: Callable[..., B]) -> Apply[Any, B]:
    """Make a step of a function from record to record.

    Args:
        fn: gets the record, returns the next one. Runs in a worker process; on the loop where it is `async def`.

    Returns:
        A step for `PipelineEngine.steps`, named after `fn` in reports.

    Raises:
        ConfigError: `fn` is not callable.
    """
    return Apply(fn)


@overload
def keep_if(predicate: Callable[[Any], object]) -> KeepIf[Any]: ...
@overload
def keep_if(predicate: Callable[[P, Any], object]) -> KeepIf[Any]: ...
def keep_if(predicate: Callable[..., object]) -> KeepIf[Any]:
    """Make a step that filters: records for which `predicate` is false end here (counted `filtered`).

    Args:
        predicate: gets the record; its truth decides. Runs in a worker process; on the loop where it is `async def`.

    Returns:
        A step for `PipelineEngine.steps`, named after `predicate` in reports.

    Raises:
        ConfigError: `predicate` is not callable.
    """
    return KeepIf(predicate)


@overload
def expand(fn: Callable[[Any], Iterable[B] | AsyncIterable[B] | Awaitable[Iterable[B]]]) -> Expand[Any, B]: ...
@overload
def expand(fn: Callable[[P, Any], Iterable[B] | AsyncIterable[B] | Awaitable[Iterable[B]]]) -> Expand[Any, B]: ...
def expand(fn: Callable[..., Any]) -> Expand[Any, Any]:
    """Make a step that fans out: each item of the iterable `fn` returns goes on by itself.

    Args:
        fn: gets the record, returns an iterable or is a generator function. No items: filtered. Where it is
            `async def`, with `yield` or without, the step runs on the loop. Items of one record leave their worker
            while it goes on, about half of `buffer_size` divided by the workers at a time; what has left stays where
            `fn` raises later. All are held together where there are fewer than 32 small ones, and in pipelines with
            `retry`, an `order` by key, `vectorize` or async steps behind it, in `frame.call`, in several threads, and
            in an executor of yours.

    Returns:
        A step for `PipelineEngine.steps`, named after `fn` in reports.

    Raises:
        ConfigError: `fn` is not callable.
    """
    return Expand(fn)  # the plan makes another of it where it is async


@overload
def vectorize(fn: Callable[[list[Any]], Collection[B | Drop]], size: int = 256) -> Vectorize[Any, B]: ...
@overload
def vectorize(fn: Callable[[P, list[Any]], Collection[B | Drop]], size: int = 256) -> Vectorize[Any, B]: ...
def vectorize(fn: Callable[..., Collection[B | Drop]], size: int = 256) -> Vectorize[Any, B]:
    """Make a step of a function of many records at once: a model's `predict`, an operation on arrays.

    The call is fused with the steps around it. It gets the records of a batch that came through the steps before it,
    children of a fan-out among them, and never waits for more: as many as there are, up to `size`. Batches are made
    large enough for `size` where `buffer_size` and `buffer_bytes` allow it; a pipeline with nothing else to do is
    called with one record.

    One record alone is still to blame. Where `fn` raises, it is called again with one half of its records and then the
    other, until those that fail stand alone: at most `2 * log2(size)` calls for one of them, and the steps before are
    not run again. So is done where a worker dies in it or a call takes longer than `time_limit`, which here bounds a
    call. `fn` may thus see a record more than once, and should not change those it is given.

    Args:
        fn: gets a list of 1 to `size` records; returns as many outcomes in the same order, as a list, a tuple, or
            anything with a length that is iterated along its first axis, as arrays of numpy and tensors of torch are.
            Each goes on as the next record; `DROP` is filtered. Anything else, or another number of them, fails all
            records of the call, with a message that has both numbers. Runs in a worker process; a `def` function.
        size: most records of a call, ≥ 1. Smaller calls `fn` more often, larger ones hold more records in memory and
            in one batch, which a lane works off by itself.

    Returns:
        A step for `PipelineEngine.steps`, named after `fn` in reports, where its calls are counted in records and a
        record's time is its share of the call.

    Raises:
        ConfigError: `fn` is not callable, or `size` no positive int; when the pipeline is checked, that `fn` is
            `async def` or a generator function.
    """
    return Vectorize(fn, size)


def step_name(step: object) -> str:
    """The name a step goes by in reports and failures: a function's own, or that of what it wraps."""
    name = getattr(step, "__name__", None)
    if isinstance(name, str):
        return name
    return step_name(step.func) if isinstance(step, partial) else type(step).__name__
