"""The life of a run as a table: an illegal turn raises and changes nothing.

FEEDING ──► DRAINING ──► CLOSED         the usual way
   └───────────┴───────► CLOSED         aborted: cancelled, or an error
"""

from __future__ import annotations

from enum import Enum

from pipeframe_async.errors import InternalError
from pipeframe_async.report import EndedBy


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


class Lifecycle:
    """Where the run is, and what ended it. The first cause to end the feed stands; a failure outranks it."""

    def __init__(self) -> None:
        self.state = State.FEEDING
        self.ended_by: EndedBy = "exhausted"

    def drain(self, why: EndedBy) -> bool:
        """No more is fed, and why; False when that was so already."""
        if why == "failed" and self.state is not State.CLOSED:
            self.ended_by = why
        if self.state is not State.FEEDING:
            return False
        self.ended_by = why
        self._turn(State.DRAINING)
        return True

    def close(self, why: EndedBy | None = None) -> None:
        """It is over; `why` where it did not drain."""
        self._turn(State.CLOSED)
        self.ended_by = why or self.ended_by

    def _turn(self, to: State) -> None:
        if to not in TURNS[self.state]:
            raise InternalError(f"a run cannot go from {self.state.value} to {to.value}")
        self.state = to
