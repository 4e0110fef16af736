"""The words between a client and the lanes it has on Dask workers: what is asked, and how an answer begins."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pipeframe_async.wire import Packed

OPEN: Final = "open"
WAITING: Final = "waiting"
"""The lease has not begun: the thread it is to have is at work for others."""
GONE_AWAY: Final = "gone away"
"""There is no such lane here any more."""
LOST: Final = "lost"
"""There is one, and it has no worker; `text` says why."""
CUT: Final = "cut off"
"""The lane was ended while it had the batch."""
UNKNOWN: Final = "unknown"
"""This Dask worker does not have the chain: send it along."""


class Call(NamedTuple):
    """A batch for a lane.

    Attributes:
        chain: its key, with the segment.
        tag: of its supply.
        time_limit: as the chain has it.
        parcel: what a worker is sent that does not know it: its bytes, and the supply; None where it does.
        number: the batch's.
        packed: the records.
        ship: results are wanted.
    """

    chain: str
    tag: str
    time_limit: float | None
    parcel: tuple[Any, ...] | None
    number: int
    packed: Packed
    ship: bool


class Relayed:
    """A `wire.Supply` that has come from a client. What is missing in it only the client can be asked for."""

    def __init__(self, tag: str, more: tuple[Any, ...], refused: dict[Any, str]) -> None:
        self.tag = tag
        self._parcel = tag, more, refused

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Relayed) and other.tag == self.tag

    def __hash__(self) -> int:
        return hash(self.tag)

    def parcel(self) -> tuple[Any, ...]:
        """The tag, the definitions, and what cannot be sent."""
        return self._parcel

    def ask(self, wanted: str) -> bool:
        """Not here: the worker's reply goes to the client, who has it."""
        return False
