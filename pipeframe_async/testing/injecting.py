"""`faults`: what goes wrong at some records of a run, for real: workers are killed, steps hang, a sink fails.

A run inside the context is one of a copy of the pipeline, whose feed marks those records and whose first step looks for
the marks. The pipeline itself, the engine and every run outside know nothing of it.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import getattr_static
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any, Final, TypeVar

from pipeframe_async._rules import knobs
from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine, name_of
from pipeframe_async.plan import instance_of
from pipeframe_async.steps import step_name
from pipeframe_async.testing.copies import copy_of, stays_at_home
from pipeframe_async.testing.doubles import taker_double
from pipeframe_async.testing.marking import SinkMark, bare_failure, marked_feed
from pipeframe_async.testing.marks import MOST_MEBIBYTES, Fault, Meets, Placed, bare

In = TypeVar("In")
Out = TypeVar("Out")

logger = logging.getLogger("pipeframe_async")

HANG_LIMIT: Final = 2.0
"""Seconds: the `time_limit` of a pipeline that has none, where a record is to hang. Without one that run would never
end. Smaller ends what is only slow on a busy machine, larger is waited for, twice."""

IN_PROCESS: Final = ("inline", "threads", "auto")
"""Executors that run steps in the process of the test, or may."""
NEED_WORKERS: Final = ("kill", "hang", "oom", "unpicklable")


def kill(at: int, *, times: int | None = None) -> Fault:
    """The worker that has the record is killed with SIGKILL, as from outside.

    A record that kills whoever runs it is run again alone, until it has killed six: one such death may be somebody
    else's doing, the kernel's or an operator's. Then it has failed: kind `"crashed"`. With `times=1` only its first
    worker dies, by chance as it were: the record is run again, and delivered.

    Args:
        at: the record's position in the feed, from 0; among several of a `Chunk` each has its own.
        times: how often it happens, ≥ 1. None: whenever a worker is at the record.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong.

    Process: in the worker, in front of the pipeline's first step.
    """
    return _fault(Fault("kill", at, times))


def hang(at: int, *, times: int | None = None) -> Fault:
    """The step stands still at the record, until the pipeline's `time_limit` ends its worker: kind `"timeout"`.

    A record is tried once more alone before that is its failure, so a run lasts twice the limit longer. A pipeline that
    has none is run with one of 2 seconds, and the log says so: without, the run would hang too.

    Args:
        at: the record's position in the feed, from 0.
        times: how often it happens, ≥ 1. None: whenever a worker is at the record.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong.

    Process: in the worker.
    """
    return _fault(Fault("hang", at, times))


def raising(at: int, *, error: BaseException | None = None, times: int | None = None) -> Fault:
    """The first step raises at the record.

    Args:
        at: the record's position in the feed, from 0.
        error: what it raises; a `ValueError` by default. It must pickle.
        times: how often it happens, ≥ 1: with a `Retry`, `times=1` is an error that goes away. None: always.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong, or the error cannot be sent to a worker.

    Process: where the steps run.
    """
    error = ValueError(f"raising(at={at})") if error is None else error
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - just made
    except Exception as problem:
        raise ConfigError(f"raising(at={at}, error={error!r}): cannot be sent to a worker: {problem!r}") from problem
    return _fault(Fault("raising", at, times, error=error))


def unpicklable(at: int) -> Fault:
    """The record cannot be pickled on its way to a worker: kind `"unpicklable"`. Those beside it are not harmed.

    It needs worker processes: elsewhere nothing is pickled.

    Args:
        at: the record's position in the feed, from 0.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong.

    Process: the parent, where records are packed.
    """
    return _fault(Fault("unpicklable", at))


def slow(at: int, *, seconds: float, times: int | None = None) -> Fault:
    """The first step takes longer at the record, and then goes on.

    Args:
        at: the record's position in the feed, from 0.
        seconds: how much longer.
        times: how often it happens, ≥ 1. None: whenever somebody is at the record.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong.

    Process: where the steps run.
    """
    return _fault(Fault("slow", at, times, seconds=knobs.seconds(f"slow(at={at}): seconds", seconds)))


def oom(at: int, *, mebibytes: int = 64, times: int | None = None) -> Fault:
    """The worker takes memory at the record, and is killed as the kernel does it where there is none left.

    Args:
        at: the record's position in the feed, from 0.
        mebibytes: taken, and written to, before it is killed; 1 to 1024. The machine is never short of memory itself:
            then the kernel would choose, and might choose the test.
        times: how often it happens, ≥ 1. None: whenever a worker is at the record.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong.

    Process: in the worker.
    """
    knobs.positive_int(f"oom(at={at}): mebibytes", mebibytes)
    if mebibytes > MOST_MEBIBYTES:
        raise ConfigError(f"oom(at={at}, mebibytes={mebibytes}): must be {MOST_MEBIBYTES} at most")
    return _fault(Fault("oom", at, times, mebibytes=mebibytes))


def sink_error(at: int, *, error: BaseException | None = None, times: int | None = 1) -> Fault:
    """The sink raises instead of taking the results of the record, and what it was given with them.

    The run ends with a `SinkError`. A record that has no result, because it fails or is filtered, comes to no sink.

    Args:
        at: the record's position in the feed, from 0.
        error: what it raises; an `OSError` by default.
        times: how often it happens, ≥ 1, over all runs in the context. None: in each of them.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong.

    Process: the parent.
    """
    return _fault(Fault("sink_error", at, times, error=error or OSError(f"sink_error(at={at})")))


def feed_error(at: int, *, error: BaseException | None = None, times: int | None = 1) -> Fault:
    """The feed raises in place of yielding the record: the run ends with a `FeedError`.

    Args:
        at: the record's position in the feed, from 0.
        error: what it raises; an `OSError` by default.
        times: how often it happens, ≥ 1, over all runs in the context. None: in each of them.

    Returns:
        A `Fault`, for `faults`.

    Raises:
        ConfigError: a value is wrong.

    Process: the parent.
    """
    return _fault(Fault("feed_error", at, times, error=error or OSError(f"feed_error(at={at})")))


def _fault(fault: Fault) -> Fault:
    if isinstance(fault.at, bool) or not isinstance(fault.at, int) or fault.at < 0:
        raise ConfigError(f"{fault.name}(at={fault.at!r}): must be a position in the feed: an int, 0 or more")
    if fault.times is not None:
        knobs.positive_int(f"{fault}: times", fault.times, hint="None for always")
    return fault


class Faults:
    """The faults of a context, which `with faults(...) as injected` gives.

    What happened is counted over all runs in the context, by this process and its workers; it can be asked for later.
    """

    def __init__(self, placed: Sequence[Placed]) -> None:
        self._placed = tuple(placed)
        self._counts: list[int] | None = None  # when the context has been left

    def _close(self) -> None:
        self._counts = self._happened()

    def _happened(self) -> list[int]:
        return [one.happened for one in self._placed] if self._counts is None else self._counts

    def happened(self, fault: Fault) -> int:
        """How often a fault of this context has happened.

        Raises:
            ConfigError: it is none of them.
        """
        for one, count in zip(self._placed, self._happened(), strict=True):
            if one.fault is fault:
                return count
        raise ConfigError(f"{fault} is none of the faults of this context")

    def check(self) -> None:
        """See to it that the test was one: each fault has happened.

        Raises:
            AssertionError: some have not; it names them.
        """
        counts = zip(self._placed, self._happened(), strict=True)
        if missed := [str(one.fault) for one, count in counts if not count]:
            raise AssertionError(f"did not happen: {', '.join(missed)}; was a record at that position run?")

    def wrapped(
        self,
        pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
        feed: Any = None,
        *,
        executor: object = "processes",
    ) -> PipelineEngine[In, Out]:
        """A copy of a pipeline with the faults, to be run by a frame of your own; its feed must be in it.

        Its sink and dead letter are the pipeline's own. In its report the first step stands twice: the faults happen
        in a step of their own. Where a pipeline begins with an `async def` step, its records pass a worker in front of
        it. Positions are those of what the feed yields in that run: of a job that goes on they begin where it does, and
        it goes on as another copy like this one, for its steps are others.

        Args:
            pipeline: a `PipelineEngine` subclass, or an instance of one. It is not changed.
            feed: in place of the pipeline's own.
            executor: that of the frame.

        Returns:
            A pipeline, to be run inside the context.

        Raises:
            ConfigError: a fault needs workers, and these steps run in this process.
        """
        engine = instance_of(pipeline)
        owner = name_of(engine)
        _check_executor(self._placed, executor)
        own = getattr(engine, "feed", None)
        instead: dict[str, Any] = {"feed": self._marked(owner, own if feed is None else feed)}
        if (dead_letter := getattr(engine, "dead_letter", None)) is not None:
            instead["dead_letter"] = taker_double(dead_letter, "dead_letter", _Bare())
        if any(one.fault.name == "sink_error" for one in self._placed):
            instead["sink"] = taker_double(getattr(engine, "sink", None), "sink", _Raises())
        if callable(order := _order(engine)):
            instead["order"] = _BareOrder(order)
        if isinstance(engine.steps, (list, tuple)) and engine.steps:
            instead["steps"] = [Meets(step_name(engine.steps[0]), os.getpid()), *engine.steps]
        if engine.time_limit is None and any(one.fault.name == "hang" for one in self._placed):
            logger.warning("%s has no time_limit, and a record is to hang: it is given %g s", owner, HANG_LIMIT)
            instead["time_limit"] = HANG_LIMIT
        return copy_of(engine, **instead)

    def _marked(self, owner: str, feed: Any) -> Any:
        faulty: dict[int, list[Placed]] = {}
        for one in self._placed:
            faulty.setdefault(one.fault.at, []).append(one)
        return marked_feed(feed, owner, faulty)


_active: ContextVar[Faults | None] = ContextVar("pipeframe_faults", default=None)


def active() -> Faults | None:
    """Those of the innermost context."""
    return _active.get()


@contextmanager
def faults(*chosen: Fault) -> Iterator[Faults]:
    """Let things go wrong in the runs inside.

    `try_records` runs with them by itself: `with faults(kill(at=17)): out = await try_records(P, range(100),
    executor="processes")`. A run of your own is one of `injected.wrapped(P)`. Workers are real, and so is what happens
    to them. Contexts do not add up: the innermost one counts. Outside nothing is left of it.

    Args:
        chosen: what `kill`, `hang`, `raising`, `unpicklable`, `slow`, `oom`, `sink_error` and `feed_error` make.
            Several at one record happen in this order.

    Yields:
        The `Faults`, which count what has happened.

    Raises:
        ConfigError: something else was passed.

    Process: this one, and its workers, which know of a fault by the record that has it.
    """
    if wrong := [one for one in chosen if not isinstance(one, Fault)]:
        raise ConfigError(f"faults({wrong[0]!r}): takes what kill(at=17), hang(at=42) and their like make")
    with TemporaryDirectory(prefix="pipeframe-faults-") as folder:
        placed = [Placed(fault, str(Path(folder) / str(number))) for number, fault in enumerate(chosen)]
        token = _active.set(injected := Faults(placed))
        try:
            yield injected
        finally:
            _active.reset(token)
            injected._close()


def _order(engine: PipelineEngine[Any, Any]) -> Any:
    """Its order; a function in the class body is used as it is, and not bound."""
    order = getattr_static(engine, "order")
    return order if isinstance(order, FunctionType) else engine.order


def _check_executor(placed: Sequence[Placed], executor: object) -> None:
    if executor not in IN_PROCESS:
        return
    for one in placed:
        if one.fault.name in NEED_WORKERS:
            raise ConfigError(
                f"{one.fault} with executor={executor!r}, whose steps run in this process: use executor='processes'"
            )


class _BareOrder:
    """The key of a record, of which its faults are no part."""

    __reduce__ = stays_at_home

    def __init__(self, order: Callable[[Any], Any]) -> None:
        self._order = order

    def __call__(self, record: Any) -> Any:
        return self._order(bare(record))


class _Bare:
    """Failures, with records as they were fed."""

    def given(self, items: list[Any], keys: Sequence[Any] | None) -> tuple[list[Any], Sequence[Any] | None]:
        return [bare_failure(failure) for failure in items], keys

    def taken(self, items: list[Any], keys: Sequence[Any] | None) -> None:
        """Nothing is to be done."""


class _Raises:
    """Results, unless their sink is to raise; with the keys that they had."""

    def given(self, items: list[Any], keys: Sequence[Any] | None) -> tuple[list[Any], Sequence[Any] | None]:
        for key in keys or ():
            if isinstance(key, SinkMark) and key.placed.falls_due():
                assert key.placed.fault.error is not None
                raise key.placed.fault.error
        return items, [key.key if isinstance(key, SinkMark) else key for key in keys or ()]

    def taken(self, items: list[Any], keys: Sequence[Any] | None) -> None:
        """Nothing is to be done."""
