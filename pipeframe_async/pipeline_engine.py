"""`PipelineEngine`, what a user subclasses, and `Retry`. Its attributes are the pipeline; `plan.py` checks them.

Workers import this module when steps are methods, so it stays thin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Literal

from pipeframe_async.checkpoint import Checkpoint
from pipeframe_async.errors import ConfigError
from pipeframe_async.steps import step_name

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # a checker has it, also where it is not installed

    In = TypeVar("In", default=Any)
    Out = TypeVar("Out", default=Any)
else:
    from typing import TypeVar

    In = TypeVar("In")
    Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed record is tried again.

    Args:
        attempts: most attempts in all, the first included (≥ 2).
        on: exception classes worth another attempt, matched where they are raised. A record that ran out of time
            counts as `TimeoutError`, one that lost its worker as `WorkerLost`; one that cannot be pickled is not
            tried again, nor is one whose step returned what it may not.
        backoff: seconds before the second attempt.
        factor: what each further delay is multiplied by (≥ 1).
        max_backoff: longest delay, seconds.
        jitter: draw each delay between half and the whole, so that retries do not come in step.
    """

    attempts: int
    on: tuple[type[BaseException], ...] = (Exception,)
    backoff: float = 0.1
    factor: float = 2.0
    max_backoff: float = 30.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 2:
            raise ConfigError(f"Retry(attempts={self.attempts!r}): must be an int of at least 2 (the first try counts)")
        classes = self.on if isinstance(self.on, tuple) else (self.on,)
        if not classes or not all(isinstance(cls, type) and issubclass(cls, BaseException) for cls in classes):
            raise ConfigError(f"Retry(on={self.on!r}): must be exception classes, e.g. on=(OSError, TimeoutError)")
        object.__setattr__(self, "on", classes)
        numbers = (self.backoff, self.factor, self.max_backoff)
        if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers) or not (
            0 <= self.backoff <= self.max_backoff < inf and 1 <= self.factor < inf
        ):  # so that NaN is refused too
            raise ConfigError(
                f"Retry(backoff={self.backoff!r}, factor={self.factor!r}, max_backoff={self.max_backoff!r}): "
                "needs 0 <= backoff <= max_backoff and factor >= 1"
            )
        if not isinstance(self.jitter, bool):
            raise ConfigError(f"Retry(jitter={self.jitter!r}): must be True or False")


class PipelineEngine(Generic[In, Out]):
    """A pipeline: steps, a feed, and the few knobs that belong to the work rather than the machine.

    `PipelineEngine[In, Out]` says to a type checker what is fed and what the results are; either may be left out, and
    is `Any` then. Subclass it, list `steps`, write `feed`, and hand the class (or an instance, when it takes
    arguments) to `PipeFrame().run`. Optional hooks are found by name: `feed`, `async def sink(self, records)`,
    `async def dead_letter(self, failures)`, `async def on_progress(self, watermark)`, `setup(self)` and
    `teardown(self)`. `feed`, `sink` and `dead_letter` may be objects: a `Source`, and a `Sink` each. The watermark is
    the number of records, from the first fed on, that all have a final outcome; it is told when it has risen, never
    past a record that has none, or that failed, was one too many and is in no `dead_letter`, and not more often than
    the hook returns.

    Attributes:
        steps: functions, methods, partials or callable objects of one record, in order. Each returns
            `(record, keep_going)`, `DROP`, or is a generator function of `(record, keep_going)`. Steps that are
            `async def`, or async generator functions, run on the event loop. `vectorize` makes one of many records.
        source: `"batch"`: the feed runs to its end before the first step starts (overflow beyond
            `buffer_size` spills to a temporary file). `"stream"`: feed and steps run together.
        timeout: seconds without a new record, while there is room for one, after which a stream ends.
            None: never.
        order: `"input"`: results in feed order. `"completion"`: as they finish. A function of the record gives its
            key (hashable; asked on the loop, of the decoded record where the feed has a `decode`): order is kept within
            each key, keys run in parallel, and records of one key go to one worker while any of them is in flight.
        time_limit: seconds one record may spend in one run of `def` steps, or of `async def` steps. None: no limit. One
            that takes longer in a worker is tried once more alone before it has failed: that may have stood still. Of
            a long fan-out it counts from one portion of children to the next, and of a vectorized step each call has it
            for itself. An async step whose loop was kept by something else has as long again, up to twice its time.
        retry: a `Retry`, or None for one attempt. A record is tried again from the start of the run of `def` steps,
            or the `async def` steps, that it failed in; what its children came to in a failed attempt does not count.
        async_concurrency: records that are in one run of `async def` steps at a time, ≥ 1.
        max_failures: records that may fail before the run stops: an int, a ratio in (0, 1] judged after
            200 records, or None for any number. Default 0, or None where `dead_letter` is defined.
        batch_size: None: self-tuning; large enough for the largest call of a vectorized step. An int fixes the records
            per batch, which no call has more than.
        checkpoint: the path of a file in which it is kept how far the run has come, or a `Checkpoint`: a run that was
            killed is gone on with by the next one. Not for `PipeFrame.call`.

    What `teardown` returns is in the report's `teardowns`.

    Process: `def` steps, `setup` and `teardown` run in worker processes; `async def` steps, `feed`, `order`, `sink`,
    `dead_letter` and `on_progress` in the parent. An instance is shipped to the workers only where a `def` step is one
    of its methods or it has a `setup` or `teardown`; then its attributes must pickle.
    """

    steps: Sequence[Callable[..., object]] = ()
    source: Literal["batch", "stream"] = "batch"
    timeout: float | None = 2.0
    order: Any = "input"  # not the union it is: a checker would bind a function or lambda in the class body
    time_limit: float | None = None
    retry: Retry | None = None
    async_concurrency: int = 64
    max_failures: int | float | None
    batch_size: int | None = None
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None

    if not TYPE_CHECKING:  # `TypeVar` has defaults from CPython 3.13 on only

        def __class_getitem__(cls, types):
            alone = cls is PipelineEngine and not isinstance(types, tuple)
            return super().__class_getitem__((types, Any) if alone else types)


class Pipeline(PipelineEngine[In, Out]):
    """A pipeline without a class of its own: what `pipeline` makes. Its hooks are functions, and no methods.

    Args:
        attributes: what a class would have.
    """

    def __init__(self, attributes: dict[str, Any]) -> None:
        vars(self).update(attributes)

    def __repr__(self) -> str:
        return name_of(self)


MOST_NAMED = 3
"""Steps by which a pipeline without a class is told from others. More makes a long line of each message."""


def name_of(pipeline: PipelineEngine[Any, Any]) -> str:
    """What it goes by in messages and metrics: its class's name; of one without, how it was made."""
    if not isinstance(pipeline, Pipeline):
        return type(pipeline).__name__
    names = [step_name(step) for step in pipeline.steps]
    if len(names) > MOST_NAMED:
        names[1:-1] = ["…"]
    return f"pipeline({', '.join(names)})"
