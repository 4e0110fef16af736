"""The life of a run as a table: an illegal turn raises and changes nothing.

FEEDING ──► DRAINING ──► CLOSED         the usual way
   └───────────┴───────► CLOSED         aborted: cancelled, or an error
"""

from __future__ import annotations

from enum import Enum

from pipeframe_async.errors import InternalError
from pipeframe_async.stats import EndedBy


class State(Enum):
    """Where a run is."""

    FEEDING = "feeding"
    DRAINING = "draining"
    CLOSED = "closed"


TURNS: dict[State, frozenset[State]] = {
    State.FEEDING: frozenset({State.DRAINING, State.CLOSED}),
    State.DRAINING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


RANK: dict[EndedBy, int] = {"exhausted": 0, "idle": 0, "stopped": 1, "failed": 2, "cancelled": 3}
"""What a person asked for outranks how the feed came to its end, and a failure outranks both."""


class Lifecycle:
    """Where the run is, and what ended it: the first cause of the highest rank that came before the end."""

    def __init__(self) -> None:
        self.state = State.FEEDING
        self.ended_by: EndedBy = "exhausted"

    def drain(self, why: EndedBy) -> bool:
        """No more is fed, and why; False when that was so already."""
        if self.state is State.FEEDING:
            self.ended_by = why
            self._turn(State.DRAINING)
            return True
        if self.state is State.DRAINING and RANK[why] > RANK[self.ended_by]:
            self.ended_by = why
        return False

    def close(self, why: EndedBy | None = None) -> None:
        """It is over; `why` where it did not drain."""
        self._turn(State.CLOSED)
        self.ended_by = why or self.ended_by

    def _turn(self, to: State) -> None:
        if to not in TURNS[self.state]:
            raise InternalError(f"a run cannot go from {self.state.value} to {to.value}")
        self.state = to
