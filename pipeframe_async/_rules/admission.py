"""Whether a call is let in, by how many wait and how long it would.

Comes in: what calls were measured to take, what is ahead of one, its deadline. Goes out: nothing, or the error that
says why not and when to come again. Time is an argument. To refuse must cost microseconds: those who are refused are
the many.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from pipeframe_async.errors import Overloaded

LEAST_RETRY = 0.1
"""Seconds after which somebody who was refused may come again, at least. Sooner they meet the same crowd, and their
asking is a load of its own; later a jam of a moment turns away who could be served."""
UNKNOWN_RETRY = 1.0
"""The same, before anything was measured."""
MEMORY = 0.95
"""Weight that measurements keep when the next calls are answered: about twenty answers are remembered. With fewer,
calls that take very different times let the prediction jump; with more it is late where all become slower."""
DEADLINE_PART = 0.25
"""Of the tightest deadline, the longest work of a batch: a call may wait for one to end. With more, those are late that
were let in; with less, batches are short where deadlines are, and pay more hops."""
LATELY = 1.0
"""Seconds in which a deadline counts as one of now, or the last refusal says that calls are refused."""


class Pace:
    """What calls of one pipeline take, of each kind of place that is needed for them.

    Attributes:
        seconds: that one call takes, by kind of place; none before the first answer.
    """

    def __init__(self) -> None:
        self.seconds: Sequence[float] = ()
        self._calls = 0.0
        self._spent: Sequence[float] = ()
        self._seen: Sequence[float] = ()

    def answered(self, calls: int, spent: Sequence[float]) -> None:
        """So many more calls have their answer, and this is what all have taken so far, by kind of place."""
        new = [now - before for now, before in zip(spent, self._seen or [0.0] * len(spent), strict=True)]
        self._seen = spent
        self._calls = MEMORY * self._calls + calls
        self._spent = [MEMORY * old + more for old, more in zip(self._spent or [0.0] * len(new), new, strict=True)]
        self.seconds = [each / self._calls for each in self._spent]


class Lately:
    """The least of what was said within the last second or two; infinity where nothing was."""

    def __init__(self) -> None:
        self._turn = -inf
        self._now = self._before = inf

    def say(self, value: float, time: float) -> None:
        """It is said at this time."""
        self._move(time)
        self._now = min(self._now, value)

    def least(self, time: float) -> float:
        """At this time."""
        self._move(time)
        return min(self._now, self._before)

    def _move(self, time: float) -> None:
        if time >= self._turn + LATELY:
            self._before = self._now if time < self._turn + 2 * LATELY else inf
            self._now, self._turn = inf, time


def refusal(name: str, *, waiting: int, most: int, wait: float, deadline: float | None) -> Overloaded | None:
    """Why a call is not let in; None where it is.

    Args:
        name: the pipeline's.
        waiting: calls that wait, and before which it would not go.
        most: how many may.
        wait: seconds that it is predicted to wait; 0 where nothing is known.
        deadline: seconds that it may.
    """
    if waiting >= most:
        after = max(LEAST_RETRY, wait / 2) if wait else UNKNOWN_RETRY
        return Overloaded(
            f"{name} is overloaded: {waiting:,} calls wait, and no more may (call_queue={most:,}); predicted wait "
            f"{wait:.3g} s{_of(deadline)}. Come again in {after:.3g} s, or answer 503 with Retry-After",
            after,
        )
    if deadline is None or wait <= deadline:
        return None
    after = max(LEAST_RETRY, wait - deadline)
    return Overloaded(
        f"{name} is overloaded: predicted wait {wait:.3g} s{_of(deadline)}; {waiting:,} calls wait. Come again in "
        f"{after:.3g} s, or answer 503 with Retry-After",
        after,
    )


def late(name: str, *, waiting: int, wait: float, deadline: float) -> Overloaded:
    """A call was let in, and has not begun within its deadline; arguments as above."""
    after = max(LEAST_RETRY, wait - deadline) if wait else UNKNOWN_RETRY
    return Overloaded(
        f"{name} is overloaded: the call has waited for its deadline of {deadline:.3g} s, and was not begun; "
        f"{waiting:,} calls wait. Come again in {after:.3g} s, or answer 503 with Retry-After",
        after,
    )


def _of(deadline: float | None) -> str:
    return "" if deadline is None else f" of a deadline of {deadline:.3g} s"
