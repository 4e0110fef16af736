"""Whether a failed record is tried again, and when."""

from __future__ import annotations

from collections.abc import Callable

from pipeframe_async.errors import WorkerLost
from pipeframe_async.model import FailureKind
from pipeframe_async.pipeline_engine import Retry

STANDS_FOR: dict[FailureKind, type[BaseException]] = {"timeout": TimeoutError, "crashed": WorkerLost}
"""What a failure without an exception counts as, when it is compared with `Retry.on`. A record or result that has no
bytes is in none: it would have none the next time either."""


class Retrying:
    """A pipeline's `retry`, at work.

    Args:
        retry: the pipeline's.
        draw: gives numbers in [0, 1), for the jitter.
    """

    def __init__(self, retry: Retry, draw: Callable[[], float]) -> None:
        self._retry = retry
        self._draw = draw

    def matches(self, error: BaseException) -> bool:
        """Whether what was raised is one of the exceptions to retry after."""
        return isinstance(error, self._retry.on)

    def worth(self, kind: FailureKind, *, matched: bool) -> bool:
        """Whether a failure of this kind is one to retry; `matched`: so the worker has said of what was raised."""
        stands_for = STANDS_FOR.get(kind)
        return matched if stands_for is None else issubclass(stands_for, self._retry.on)

    def delay(self, attempts: int) -> float | None:
        """Seconds to wait after so many attempts; None where there were enough."""
        retry = self._retry
        if attempts >= retry.attempts:
            return None
        delay = _grown(retry.backoff, retry.factor, attempts - 1, retry.max_backoff)
        return delay * (1 + self._draw()) / 2 if retry.jitter else delay


def _grown(delay: float, factor: float, times: int, most: float) -> float:
    """`delay * factor**times`, at most `most`, without overflow."""
    for _ in range(times):
        if not 0 < delay < most or factor == 1.0:
            break
        delay *= factor
    return min(delay, most)
