"""How a quantity has gone over the life of a run, in so many points, whatever that lasts.

When there are too many every second one goes, and from then on half as many are taken: the shape stays, and the grain
becomes coarser.
"""

from __future__ import annotations

from typing import Final, TypeVar

T = TypeVar("T")

POINTS: Final = 240
"""Points at most. More than a chart has pixels for say nothing; with fewer than a hundred it shows steps."""


class History(list[tuple[float, T]]):
    """Points: when, in seconds, and what.

    Args:
        apart: seconds between two of them, at first.
    """

    def __init__(self, apart: float = 0.5) -> None:
        super().__init__()
        self._apart = apart
        self._due = 0.0

    def add(self, now: float, value: T, *, last: bool = False) -> None:
        """Take a point, if it is time; in any case where it is the last."""
        if now < self._due and not last:
            return
        self._due = now + 0.9 * self._apart  # looks come a little early or late
        self.append((now, value))
        if len(self) > POINTS:
            del self[1:-1:2]
            self._apart *= 2
