"""The life of one worker as a table: an illegal turn raises and changes nothing.

STARTING ──► SERVING ──► RETIRING ──► ENDING ──► GONE     the usual way: worn, it finishes what it has, and is ended
   │            └────────────────────► ENDING             it died, or its lane is closed
   └─────────────────────────────────► ENDING, GONE       closed in the middle of its start; or that has failed
"""

from __future__ import annotations

from enum import Enum

from pipeframe_async.errors import InternalError


class State(Enum):
    """Where a worker is between its start and its end."""

    STARTING = "starting"
    SERVING = "serving"
    """It gets the next batch."""
    RETIRING = "retiring"
    """It gets no more batches, and finishes those it has."""
    ENDING = "ending"
    """It is being put away, dead or alive."""
    GONE = "gone"


TURNS: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.SERVING, State.ENDING, State.GONE}),
    State.SERVING: frozenset({State.RETIRING, State.ENDING}),
    State.RETIRING: frozenset({State.ENDING}),
    State.ENDING: frozenset({State.GONE}),
    State.GONE: frozenset(),
}


class WorkerLife:
    """Where a worker is."""

    def __init__(self) -> None:
        self.state = State.STARTING

    def serve(self) -> None:
        """It has started, and takes batches."""
        self._turn(State.SERVING)

    def retire(self) -> None:
        """It has done enough: what it has is its last."""
        self._turn(State.RETIRING)

    def end(self) -> None:
        """It is being put away from now on."""
        self._turn(State.ENDING)

    def leave(self) -> None:
        """Nothing of it is left."""
        self._turn(State.GONE)

    def _turn(self, to: State) -> None:
        if to not in TURNS[self.state]:
            raise InternalError(f"a worker cannot go from {self.state.value} to {to.value}")
        self.state = to
