"""In which order answers leave: as they were fed, or as they finish.

Batches are numbered in feed order, so keeping the order of batches keeps the order of records.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pipeframe_async.errors import InternalError

T = TypeVar("T")


class Sequencer(Generic[T]):
    """Hands out items in the order of their numbers, 0, 1, 2 …, or at once where order does not matter.

    What waits here holds its permits, so the buffer bounds it.
    """

    def __init__(self, *, keep_order: bool) -> None:
        self._keep_order = keep_order
        self._next = 0
        self._early: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._early)

    def offer(self, number: int, item: T) -> list[T]:
        """Put in one item; returns the items that may leave now, in order."""
        if not self._keep_order:
            return [item]
        if number < self._next or number in self._early:
            raise InternalError(f"item {number} offered twice")
        self._early[number] = item
        ready = []
        while self._next in self._early:
            ready.append(self._early.pop(self._next))
            self._next += 1
        return ready
