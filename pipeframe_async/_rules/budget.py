"""How many failures a run bears."""

from __future__ import annotations

RATIO_FROM = 200
"""Records after which a ratio is judged. Fewer, and one early failure would stop a run of millions."""


class FailureBudget:
    """Counts failures against `max_failures`: an int, a ratio in (0, 1], or None for any number."""

    def __init__(self, limit: int | float | None) -> None:
        self._limit = limit
        self._failed = self._seen = 0

    def spend(self, failed: int, seen: int) -> bool:
        """Book `failed` failures among `seen` records that got an outcome; True when that is too many."""
        self._failed += failed
        self._seen += seen
        if self._limit is None:
            return False
        if isinstance(self._limit, float):
            return self._seen >= RATIO_FROM and self._failed > self._limit * self._seen
        return self._failed > self._limit
