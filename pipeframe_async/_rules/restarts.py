"""When a worker may be started in place of one that was lost: at once, unless they die without doing anything.

A row of those opens a circuit: nothing is started for a while, then one is tried, and so on as long as anybody asks.
A lane has such a rule for its workers, and one for each pipeline whose steps end them as they are loaded.
"""

from __future__ import annotations

MOST_IN_VAIN = 5
"""Workers in a row that may die without having worked. Fewer give up on a machine that is busy for a moment."""
FOREIGN_WEIGHT = 0.1
"""What a death by somebody else's signal counts: ten times as many, for killing is no sign of a broken start."""
FIRST_DELAY = 0.05
MOST_DELAY = 5.0
"""Seconds before the next start, doubled each time. Shorter burns CPU on what cannot start, longer holds up a lane."""
PAUSE = 1.0
"""Seconds after a hopeless row in which nobody tries. Shorter burns CPU, longer answers with an error that is over."""


class Restarts:
    """Counts workers that died in vain, in a row."""

    def __init__(self) -> None:
        self._in_vain = 0.0
        self._last = 0.0  # when the last one of them died

    def worked(self) -> None:
        """A worker has answered: all is well."""
        self._in_vain = 0.0

    def in_vain(self, now: float, *, foreign: bool = False) -> None:
        """A worker died before it had answered anything, or did not start at all."""
        self._last = now
        self._in_vain += FOREIGN_WEIGHT if foreign else 1.0

    def hopeless(self, now: float) -> bool:
        """Whether another start makes no sense now."""
        return self._in_vain >= MOST_IN_VAIN and now < self._last + PAUSE

    @property
    def delay(self) -> float:
        """Seconds to wait before the next start; none where a pause is over that was longer."""
        if self._in_vain >= MOST_IN_VAIN:
            return 0.0
        return 0.0 if self._in_vain < 1.0 else float(min(MOST_DELAY, FIRST_DELAY * 2 ** (self._in_vain - 1.0)))
