"""Whether records that wait behind a slow one are to be moved to a lane that has nothing to do.

Comes in: what a batch waits behind, looked at now and then. Goes out: whether it has for long.
"""

from __future__ import annotations

from collections.abc import Hashable

HELD_SECONDS = 0.02
"""Seconds for which a batch waits behind one record until the rest of it may be moved. A full batch is as long; shorter
moves what would have begun in a moment, longer leaves a lane idle."""
LOOK_SECONDS = 0.01
"""Between two looks of the one slot that looks for all lanes with nothing to do. Shorter costs turns of the loop,
longer finds it late."""


class Relief:
    """Remembers since when batches wait; by their numbers."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[Hashable, float]] = {}

    def held_up(self, batch: int, behind: Hashable, now: float) -> bool:
        """Whether a batch waits behind the same for long.

        Args:
            batch: its number.
            behind: what it waits behind; None where that is nothing.
            now: seconds.
        """
        if behind is None:
            self._since.pop(batch, None)
            return False
        was, since = self._since.get(batch, (None, now))
        if was != behind:
            self._since[batch] = behind, now
            return False
        return now - since >= HELD_SECONDS

    def over(self, batch: int) -> None:
        """It is under way no more."""
        self._since.pop(batch, None)
