"""When a lane may start a worker in place of one that was lost: at once, unless workers die without doing anything."""

from __future__ import annotations

MOST_IN_VAIN = 5
"""Workers in a row that may die without having worked. Fewer give up on a machine that is busy for a moment."""
FOREIGN_WEIGHT = 0.1
"""What a death by somebody else's signal counts: ten times as many, for killing is no sign of a broken start."""
FIRST_DELAY = 0.05
MOST_DELAY = 5.0
"""Seconds before the next start, doubled each time. Shorter burns CPU on what cannot start, longer holds up a lane."""


class Restarts:
    """Counts workers that died in vain, in a row."""

    def __init__(self) -> None:
        self._in_vain = 0.0

    def worked(self) -> None:
        """A worker has answered: all is well."""
        self._in_vain = 0.0

    def in_vain(self, *, foreign: bool = False) -> None:
        """A worker died before it had answered anything, or did not start at all."""
        self._in_vain += FOREIGN_WEIGHT if foreign else 1.0

    @property
    def hopeless(self) -> bool:
        """Whether another start makes no sense."""
        return self._in_vain >= MOST_IN_VAIN

    @property
    def delay(self) -> float:
        """Seconds to wait before the next start."""
        return 0.0 if self._in_vain < 1.0 else float(min(MOST_DELAY, FIRST_DELAY * 2 ** (self._in_vain - 1.0)))
