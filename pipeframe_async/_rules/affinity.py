"""Which lane a record goes to where order is kept by key: the one its key has records in, else the emptiest."""

from __future__ import annotations

from collections.abc import Hashable

from pipeframe_async.errors import InternalError


class Affinity:
    """Ties keys to lanes for as long as they have records in flight.

    Args:
        lanes: how many there are; they go by their numbers.
    """

    def __init__(self, lanes: int) -> None:
        self._in_lane = [0] * lanes
        self._keys: dict[Hashable, list[int]] = {}  # lane, records in flight

    def enter(self, key: Hashable) -> int:
        """A record of this key has come in; returns its lane."""
        tie = self._keys.get(key)
        if tie is None:
            tie = self._keys[key] = [self._in_lane.index(min(self._in_lane)), 0]
        tie[1] += 1
        self._in_lane[tie[0]] += 1
        return tie[0]

    def leave(self, key: Hashable) -> None:
        """A record of this key has its outcome."""
        if (tie := self._keys.get(key)) is None:
            raise InternalError(f"no record of key {key!r} is in flight")
        tie[1] -= 1
        self._in_lane[tie[0]] -= 1
        if not tie[1]:
            del self._keys[key]
