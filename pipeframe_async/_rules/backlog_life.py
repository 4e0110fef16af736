"""The life of a backlog as a table: an illegal turn raises and changes nothing.

FILLING ─┬► ENDED ────────┐   a batch feed: nothing is taken until it has ended; or, where all of it is there, OPEN
OPEN ────┤                ▼   a stream: what waits may be taken while more comes
         └► ABORTING ─► ABORTED   what waits was given up; the feed ends a little later
"""

from __future__ import annotations

from enum import Enum

from pipeframe_async.errors import InternalError


class BacklogState(Enum):
    """What may be done with what waits."""

    FILLING = "filling"
    OPEN = "open"
    ENDED = "ended"
    ABORTING = "aborting"
    ABORTED = "aborted"


_S = BacklogState

OPENS: dict[BacklogState, BacklogState] = {_S.FILLING: _S.OPEN}
"""What a feed that is all there turns it to: nothing is to be waited for."""

END: dict[BacklogState, BacklogState] = {_S.FILLING: _S.ENDED, _S.OPEN: _S.ENDED, _S.ABORTING: _S.ABORTED}
"""What no more records turn it to; they end once."""

ABORT: dict[BacklogState, BacklogState] = {
    _S.FILLING: _S.ABORTING,
    _S.OPEN: _S.ABORTING,
    _S.ABORTING: _S.ABORTING,  # what the feed handed over since goes as well
    _S.ENDED: _S.ABORTED,
    _S.ABORTED: _S.ABORTED,
}
"""What giving up turns it to; that may come more than once."""

TAKABLE = frozenset({_S.OPEN, _S.ENDED})
"""Where what waits may be taken."""

OVER = frozenset({_S.ENDED, _S.ABORTED})
"""Where no more will come."""


class BacklogLife:
    """Where a backlog is.

    Args:
        whole: nothing may be taken until the feed has ended.

    Attributes:
        state: where it is now.
        may_take: whether what waits may be taken.
        ended: whether no more will come.
    """

    def __init__(self, *, whole: bool) -> None:
        self._be(BacklogState.FILLING if whole else BacklogState.OPEN)

    def _be(self, state: BacklogState) -> None:
        self.state = state
        self.may_take = state in TAKABLE  # plain attributes: they are asked for several times a record
        self.ended = state in OVER

    def open(self) -> None:
        """All that will come is there."""
        self._turn(OPENS, "open")

    def end(self) -> None:
        """No more will come."""
        self._turn(END, "end")

    def abort(self) -> None:
        """What waits is given up."""
        self._turn(ABORT, "abort")

    def _turn(self, table: dict[BacklogState, BacklogState], verb: str) -> None:
        if (to := table.get(self.state)) is None:
            raise InternalError(f"a backlog that is {self.state.value} cannot {verb}")
        self._be(to)
