"""A pipeline checked: everything that can be known to be wrong before a run starts is found here.

A `PipelineEngine` class or instance comes in, a frozen `Plan` goes out. Nothing is started or pickled.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count, cycle, groupby, repeat
from operator import length_hint
from types import FunctionType
from typing import Any

from pipeframe_async._rules import knobs
from pipeframe_async._rules.edges import SINK_REMEDY, Back, Edge, back_of, edge_of, plain_function, wants_keys, writes
from pipeframe_async._rules.feed_forms import Feed, feed_form, returned
from pipeframe_async._rules.resume import fingerprint
from pipeframe_async._rules.spelling import misspelt
from pipeframe_async._rules.step_forms import at_once, fans_out, is_async, signature, steps_of
from pipeframe_async.checkpoint import Checkpoint
from pipeframe_async.claims import check_files
from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import Pipeline, PipelineEngine, Retry, name_of
from pipeframe_async.steps import Named, OnLoop, Wrapped, step_name
from pipeframe_async.wire import ChainSpec


@dataclass(frozen=True, slots=True)
class DefSteps:
    """A run of `def` steps; `number`: which segment of the chain it is; `at_once`: most records a call of them has."""

    names: tuple[str, ...]
    number: int
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class AsyncSteps:
    """A run of `async def` steps; `time_limit`: seconds one record may spend in it."""

    names: tuple[str, ...]
    steps: tuple[Callable[[Any], Any], ...]
    time_limit: float | None = None


Segment = DefSteps | AsyncSteps
"""Consecutive steps of one kind: `def` steps are fused and go to a worker, `async def` steps stay on the loop."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a job keeps of itself: how, by which fingerprint, and which of its ends can be set back.

    `given`: what it is fed with.
    """

    checkpoint: Checkpoint
    fingerprint: Mapping[str, Any]
    given: object
    sink: Back | None
    dead_letter: Back | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline as the engine runs it.

    `chain` is all its `def` steps, None where it has none; `feed` the bound feed of the class, or None; `order`
    `"input"`, `"completion"` or the function that gives a record's key. `fans_out`: whether a step makes any number of
    records of one. `sink`, `dead_letter` and `on_progress` are the bound hooks, or None; `sink_keys`: the sink is given
    the deliveries' keys too. `encode`: of the sink, where results do not come by its step. `edges`: what is opened and
    closed, from the feed to the sink. `kept`: of a job with a checkpoint.
    """

    name: str
    pipeline: PipelineEngine[Any, Any]
    segments: tuple[Segment, ...]
    chain: ChainSpec | None
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
    sink_keys: bool = False
    encode: Callable[[Any], Any] | None = None
    edges: tuple[Edge, ...] = ()
    kept: Kept | None = None

    @property
    def puts_off(self) -> bool:
        """Acks wait for the end: what they would be for is there only then, and the feed is still open."""
        return any(edge.whole for edge in self.edges) and any(edge.role == "feed" for edge in self.edges)

    @property
    def time_limit(self) -> float | None:
        """Of its steps, seconds."""
        if self.chain is not None:
            return self.chain.time_limit
        return next((segment.time_limit for segment in self.segments if isinstance(segment, AsyncSteps)), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The steps' names."""
        return tuple(name for segment in self.segments for name in segment.names)


def plan_of(pipeline: object, feed: Feed | None = None, *, streams: bool = False) -> Plan:
    """Check a pipeline and lay out how it runs.

    Args:
        pipeline: a `PipelineEngine` subclass, made without arguments, or an instance of one.
        feed: of a run: what it decodes its records with goes before the steps, and what the sink encodes results with
            behind them. None for calls, which have neither.
        streams: its results are iterated: its sink is not used, and where it does not say how it is fed, it streams
            until its feed ends.

    Raises:
        ConfigError: anything is wrong that can be known now; the message names it and the remedy.
    """
    engine = instance_of(pipeline)
    name = name_of(engine)
    steps = steps_of(engine, name)
    for hook in ("setup", "teardown"):
        _worker_hook(engine, name, hook)
    replays = feed is not None and feed.replays
    sink, dead_letter = _taker(engine, name, "sink"), None if replays else _taker(engine, name, "dead_letter")
    _not_replaced(None if streams or not replays else sink, feed)
    for attribute, meant in misspelt(engine, steps):
        raise ConfigError(
            f"{name} has `{attribute}`, which means nothing here: did you mean `{meant}`? If it is your own, "
            "let its name begin with an underscore"
        )
    ends = _Ends(
        decode=None if feed is None else feed.decode,
        encode=None if feed is None or streams or sink is None else sink.encode,
    )
    takers = [taker.edge for taker in (dead_letter, None if streams else sink) if taker is not None]
    live = feed is not None and feed.live
    _lease(engine, name, feed)
    feed_streams = feed is not None and feed.streams
    segments = _segments(engine, name, all_steps := ends.around(steps))
    kept = _kept(engine, name, all_steps, feed, None if streams else sink, dead_letter)
    if feed is not None:
        used = None if streams else sink, dead_letter
        values = [kept and kept.checkpoint, *(taker and taker.value for taker in used)]
        check_files(name, dict(zip(("checkpoint", "sink", "dead_letter"), values, strict=True)), feed.value)
    return Plan(
        name=name,
        pipeline=engine,
        segments=segments,
        chain=_chain(engine, name, all_steps, segments, ends),
        source=_source(engine, name, feed, streams=streams or feed_streams),
        timeout=_timeout(engine, name, feed_streams=feed_streams, iterated=streams),
        order=_order(engine, name, ends.decode, live=live),
        retry=_retry(engine, name),
        async_concurrency=knobs.positive_int(f"{name}.async_concurrency", engine.async_concurrency),
        fans_out=any(fans_out(step) for step in steps),
        max_failures=None if replays else _max_failures(engine, name, None if live or dead_letter is not None else 0),
        sink=None if sink is None else sink.function,
        dead_letter=None if dead_letter is None else dead_letter.function,
        on_progress=_hook(engine, name, "on_progress", 0, wanted="one int"),
        batch_size=_batch_size(engine, name),
        sink_keys=sink is not None and sink.keys,
        encode=ends.encode,
        edges=tuple(edge for edge in (None if feed is None else feed.edge, *takers) if edge is not None),
        kept=kept,
    )


def feed_of(pipeline: PipelineEngine[Any, Any], given: Any = None, *, call: bool = True) -> Feed:
    """The feed of a run and how it is pulled: what was given in its place, or the pipeline's own.

    A function that returns a feed is called, unless told not to.

    Raises:
        ConfigError: it is no feed; the message says what it is and what to write.
    """
    name = name_of(pipeline)
    own = getattr(pipeline, "feed", None)
    feed = feed_form(own if given is None else given, name)
    if feed.replays and own is not None:
        return replace(feed, decode=feed_form(own, name).decode)
    return returned(feed, name) if call else feed


@dataclass(frozen=True, slots=True)
class _Ends:
    """What is done to a record before the first step, and to a result behind the last one."""

    decode: Callable[[Any], Any] | None
    encode: Callable[[Any], Any] | None

    def around(self, steps: tuple[Callable[..., Any], ...]) -> tuple[Callable[..., Any], ...]:
        """They go with the steps next to them: to a worker, or on the loop, and never a way of their own."""
        if self.decode is not None:
            steps = (self._next_to(steps[0], "decode", self.decode), *steps)
        if self.encode is not None:
            steps = (*steps, self._next_to(steps[-1], "encode", self.encode))
        return steps

    def _next_to(self, step: Callable[..., Any], name: str, function: Callable[[Any], Any]) -> Callable[..., Any]:
        return OnLoop(name, function) if is_async(step) else Named(name, function)


@dataclass(frozen=True, slots=True)
class _Taker:
    """What takes results or failures: `function`, with the deliveries' keys where `keys`."""

    function: Callable[..., Any]
    keys: bool = False
    encode: Callable[[Any], Any] | None = None
    edge: Edge | None = None
    back: Back | None = None
    value: Any = None


def _taker(engine: PipelineEngine[Any, Any], name: str, role: str) -> _Taker | None:
    """The sink or the dead letter: a method, or an object that writes."""
    value = getattr(engine, role, None)
    place = f"{name}.{role}"
    if value is None:
        return None
    if (write := writes(value, place)) is None:
        return _Taker(_function(value, place, remedy=SINK_REMEDY))
    keys = role == "sink" and wants_keys(write)
    return _Taker(
        _function(write, f"{place}.write", *(((), ()) if keys else ((),)), wanted="two lists" if keys else "one list"),
        keys=keys,
        encode=plain_function(value, "encode", place) if role == "sink" else None,
        edge=edge_of(value, role, name),
        back=back_of(value),
        value=value,
    )


def _kept(
    engine: PipelineEngine[Any, Any],
    name: str,
    steps: Sequence[Callable[..., Any]],
    feed: Feed | None,
    sink: _Taker | None,
    dead_letter: _Taker | None,
) -> Kept | None:
    """What a job keeps; calls are none."""
    given: Any = engine.checkpoint
    if given is None or feed is None or feed.replays:
        return None
    if not isinstance(given, (str, os.PathLike, Checkpoint)) or not given:
        raise ConfigError(f"{name}.checkpoint={given!r}: must be the path of a file, or a Checkpoint")
    if feed.live:
        raise ConfigError(
            f"{name}.checkpoint={given!r} with {type(feed.value).__name__}, whose server knows what was done: it needs "
            "no checkpoint, and would not give it again"
        )
    if feed.seeks and callable(feed.value.position):
        raise ConfigError(
            f"{name}.checkpoint={given!r} with {type(feed.value).__name__}, whose position is a method: a feed has it "
            "as an attribute or a property, a JSON value"
        )
    for taker in (sink, dead_letter):
        if taker is not None and taker.edge is not None and taker.edge.whole and taker.back is None:
            raise ConfigError(
                f"{name}.checkpoint={given!r} with {taker.edge}, which is whole at its end or not there, and has no "
                "`restore`: what it held when the job was killed would be lost. Another kind of sink, or no checkpoint"
            )
    checkpoint = given if isinstance(given, Checkpoint) else Checkpoint(given)
    backs = [None if taker is None else taker.back for taker in (sink, dead_letter)]
    kept_sink = sink.value if sink is not None and sink.back is not None else None
    marks = fingerprint(checkpoint, tuple(map(step_name, steps)), feed, kept_sink)
    return Kept(checkpoint, marks, feed.value, *backs)


def instance_of(pipeline: object) -> PipelineEngine[Any, Any]:
    """An instance of a pipeline's class, or the one that was given.

    Raises:
        ConfigError: it is no pipeline, or cannot be made without arguments.
    """
    if isinstance(pipeline, PipelineEngine):
        return pipeline
    if not isinstance(pipeline, type) or not issubclass(pipeline, PipelineEngine):
        raise ConfigError(
            f"{pipeline!r} is no pipeline: pass a subclass of PipelineEngine, an instance of one, or pipeline(...)"
        )
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


def _segments(
    engine: PipelineEngine[Any, Any], name: str, steps: tuple[Callable[..., Any], ...]
) -> tuple[Segment, ...]:
    """The steps, as runs of the same kind."""
    limit, segments, numbers = _time_limit(engine, name), list[Segment](), count()
    for on_the_loop, group in groupby(steps, key=is_async):
        run = tuple(group)
        names = tuple(map(step_name, run))
        segments.append(AsyncSteps(names, run, limit) if on_the_loop else DefSteps(names, next(numbers), at_once(run)))
    return tuple(segments)


def _chain(
    engine: PipelineEngine[Any, Any],
    name: str,
    steps: tuple[Callable[..., Any], ...],
    segments: tuple[Segment, ...],
    ends: _Ends,
) -> ChainSpec | None:
    """All `def` steps, as they are shipped."""
    shipped = tuple(step for step in steps if not is_async(step))
    lengths = tuple(len(segment.names) for segment in segments if isinstance(segment, DefSteps))
    retry = _retry(engine, name)
    return (
        None
        if not shipped
        else ChainSpec(
            names=tuple(map(step_name, shipped)),
            steps=shipped,
            pipeline=_travelling(engine) if _travels(engine, shipped) else None,
            time_limit=_time_limit(engine, name),
            retry_on=() if retry is None else retry.on,
            segments=lengths if len(lengths) > 1 else (),
            encodes=ends.encode is not None and not is_async(steps[-1]),
            pipeline_name=name,
        )
    )


def _time_limit(engine: PipelineEngine[Any, Any], name: str) -> float | None:
    if engine.time_limit is None:
        return None
    return knobs.seconds(f"{name}.time_limit", engine.time_limit, hint="None for no limit")


def _not_replaced(sink: _Taker | None, feed: Feed | None) -> None:
    """A file of results is not replaced by those of a replay, which are but what had failed."""
    if feed is not None and sink is not None and sink.edge is not None and sink.edge.whole:
        raise ConfigError(
            f"{sink.edge} is replaced at its end, and {feed.value!r} has but what had failed: replay it into another "
            "sink (--sink), or one that is appended to"
        )


def _lease(engine: PipelineEngine[Any, Any], name: str, feed: Feed | None) -> None:
    """A record that may take its whole time limit, and be tried once more, must not be given to others meanwhile."""
    limit = _time_limit(engine, name)
    if limit is not None and feed is not None and feed.lease is not None and feed.lease < 2 * limit:
        raise ConfigError(
            f"{name}.time_limit={limit:g} with a feed whose server gives a record to others after {feed.lease:g} s "
            f"without an answer: let that be twice the time limit at least, {2 * limit:g}"
        )


def _travelling(engine: PipelineEngine[Any, Any]) -> PipelineEngine[Any, Any]:
    """What workers need of it: of one without a class, whose steps are functions, no more than two hooks."""
    if not isinstance(engine, Pipeline):
        return engine
    return Pipeline({hook: vars(engine)[hook] for hook in ("setup", "teardown") if hook in vars(engine)})


def _travels(engine: PipelineEngine[Any, Any], steps: tuple[Callable[..., Any], ...]) -> bool:
    """Whether workers need the pipeline itself."""
    if any(getattr(engine, hook, None) is not None for hook in ("setup", "teardown")):
        return True
    functions = (step.fn if isinstance(step, Wrapped) else step for step in steps)
    return any(getattr(function, "__self__", None) is engine for function in functions)


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
    engine: PipelineEngine[Any, Any], name: str, hook: str, given: object, *, wanted: str
) -> Callable[[Any], Any] | None:
    function = getattr(engine, hook, None)
    return None if function is None else _function(function, f"{name}.{hook}", given, wanted=wanted)


def _function(
    function: Any, place: str, *given: object, wanted: str = "one list", remedy: str = ""
) -> Callable[..., Any]:
    """What is called in the parent with those arguments, or an empty list."""
    if not callable(function):
        raise ConfigError(f"{place}={function!r}: must be {remedy or f'a method that takes {wanted}'}")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"{place} is a generator function: it takes {wanted} and returns, it does not yield")
    _callable_with(place, function, *(given or ((),)), wanted=wanted)
    return function  # type: ignore[no-any-return]


def _callable_with(place: str, function: Callable[..., Any], *arguments: object, wanted: str = "no arguments") -> None:
    try:
        signature(function).bind(*arguments)
    except TypeError as error:
        raise ConfigError(f"{place} cannot be called with {wanted}: {error}") from error
    except ValueError:
        return  # a builtin without a signature: only calling it will tell


def _order(
    engine: PipelineEngine[Any, Any], name: str, decode: Callable[[Any], Any] | None, *, live: bool
) -> str | Callable[[Any], Hashable]:
    if live and not _says(engine, "order"):
        return "completion"
    order: Any = inspect.getattr_static(engine, "order")
    if not isinstance(order, FunctionType):  # a function in the class body is used as it is, and not bound
        order = engine.order
    if isinstance(order, str) or not callable(order):
        return knobs.one_of(f"{name}.order", order, ("input", "completion"), also="a function of the record")
    if inspect.iscoroutinefunction(order) or inspect.isgeneratorfunction(order):
        raise ConfigError(f"{name}.order={order!r}: must be a def function that returns the record's key")
    _callable_with(f"{name}.order", order, object(), wanted="one record")
    return order if decode is None else _of_decoded(order, decode)


def _of_decoded(order: Callable[[Any], Hashable], decode: Callable[[Any], Any]) -> Callable[[Any], Hashable]:
    """The key of a record that is decoded in a worker: it is asked for before that, so it is decoded here too."""

    @wraps(order)
    def key(raw: Any) -> Hashable:
        try:
            record = decode(raw)
        except Exception:
            return None  # it fails where it is decoded, and says so
        return order(record)

    return key


def _source(engine: PipelineEngine[Any, Any], name: str, feed: Feed | None, *, streams: bool) -> str:
    said = "stream" if streams and not _says(engine, "source") else engine.source
    source = knobs.one_of(f"{name}.source", said, ("batch", "stream"))
    if source == "batch" and feed is not None and _endless(feed.value):
        raise ConfigError(
            f"the feed of {name} is {feed.value!r}, which has no end, and {name}.source is 'batch', where no step runs "
            "before it has ended: write source = 'stream'"
        )
    return source


def _endless(feed: object) -> bool:
    """Whether it is known to have no end."""
    return isinstance(feed, (count, cycle)) or (isinstance(feed, repeat) and length_hint(feed, -1) < 0)


def _timeout(engine: PipelineEngine[Any, Any], name: str, *, feed_streams: bool, iterated: bool) -> float | None:
    """A feed that streams by itself is not ended because it is quiet, unless the class says so."""
    by_itself = feed_streams or (iterated and not _says(engine, "source"))
    if engine.timeout is None or (by_itself and not _says(engine, "timeout")):
        return None
    return knobs.seconds(f"{name}.timeout", engine.timeout, hint="None for no idle timeout")


def _max_failures(engine: PipelineEngine[Any, Any], name: str, default: int | None) -> int | float | None:
    return knobs.failure_limit(f"{name}.max_failures", getattr(engine, "max_failures", default))


def _batch_size(engine: PipelineEngine[Any, Any], name: str) -> int | None:
    if engine.batch_size is None:
        return None
    return knobs.positive_int(f"{name}.batch_size", engine.batch_size, hint="None lets it tune itself")
