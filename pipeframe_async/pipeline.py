"""`PipelineEngine`, what a user subclasses, and `Retry`. Its attributes are the pipeline; `plan.py` checks them.

Workers import this module when steps are methods, so it stays thin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pipeframe_async.errors import ConfigError

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed record is tried again.

    Args:
        attempts: most attempts in all, the first included (≥ 2).
        on: exception classes worth another attempt, matched in the worker.
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
        if self.backoff < 0 or self.factor < 1 or self.max_backoff < self.backoff:
            raise ConfigError(
                f"Retry(backoff={self.backoff!r}, factor={self.factor!r}, max_backoff={self.max_backoff!r}): "
                "needs 0 <= backoff <= max_backoff and factor >= 1"
            )


class PipelineEngine(Generic[In, Out]):
    """A pipeline: steps, a feed, and the few knobs that belong to the work rather than the machine.

    Subclass it, list `steps`, write `feed`, and hand the class (or an instance, when it takes constructor
    arguments) to `PipeFrame().run`. Optional hooks are found by name: `feed`, `async def sink(self, records)`,
    `async def dead_letter(self, failures)`, `setup(self)` and `teardown(self)`.

    Attributes:
        steps: functions, methods, partials or callable objects of one record, in order. Each returns
            `(record, keep_going)`, `DROP`, or is a generator function of `(record, keep_going)`.
        source: `"batch"`: the feed runs to its end before the first step starts (overflow beyond
            `buffer_size` spills to a temporary file). `"stream"`: feed and steps run together.
        timeout: seconds without a new record, while there is room for one, after which a stream ends.
            None: never.
        order: `"input"`: results in feed order. `"completion"`: as they finish.
        time_limit: seconds one record may spend in one run of `def` steps. None: no limit.
        retry: a `Retry`, or None for one attempt.
        max_failures: records that may fail before the run stops: an int, a ratio in (0, 1] judged after
            200 records, or None for any number. Default 0, or None where `dead_letter` is defined.
        batch_size: None: self-tuning. An int fixes the records per batch.

    Process: `steps`, `setup` and `teardown` run in worker processes; `feed`, `sink` and `dead_letter` in
    the parent. An instance is shipped to the workers only where a step is one of its methods or it has a
    `setup` or `teardown`; then its attributes must pickle.
    """

    steps: Sequence[Callable[..., object]] = ()
    source: Literal["batch", "stream"] = "batch"
    timeout: float | None = 2.0
    order: Literal["input", "completion"] | Callable[[In], object] = "input"
    time_limit: float | None = None
    retry: Retry | None = None
    max_failures: int | float | None
    batch_size: int | None = None
