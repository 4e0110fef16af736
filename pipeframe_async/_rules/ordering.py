"""In which order answers leave: as they were fed, as they finish, or as they were fed within each key.

An answer stands for records at consecutive feed positions. What waits here for others holds its permits, so the
buffer bounds it. A record that failed has an answer too, so it leaves a gap and never a stall.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from pipeframe_async.errors import InternalError

T = TypeVar("T")


class Sequencer(Protocol[T]):
    """Hands out items in the order wanted; `len` is how many it holds."""

    def __len__(self) -> int: ...

    def offer(self, first: int, count: int, item: T) -> list[T]:
        """Put in what became of `count` records from position `first` on; returns what may leave now, in order.

        `count` is 0 for what comes of the record there before its end.
        """


class AsFinished(Generic[T]):
    """Order does not matter."""

    def __len__(self) -> int:
        return 0

    def offer(self, first: int, count: int, item: T) -> list[T]:
        """It may leave at once."""
        return [item]


class AsFed(Generic[T]):
    """Items leave in feed order."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, tuple[int, T]] = {}
        self._before: dict[int, list[T]] = {}  # what came of the record at a position before its end

    def __len__(self) -> int:
        return len(self._early) + sum(map(len, self._before.values()))

    def offer(self, first: int, count: int, item: T) -> list[T]:
        """It leaves when all before it have."""
        if first < self._next or first in self._early:
            raise InternalError(f"the answer for position {first} was offered twice")
        if not count:
            if first == self._next:
                return [item]
            self._before.setdefault(first, []).append(item)
            return []
        self._early[first] = count, item
        ready = []
        while (early := self._early.pop(self._next, None)) is not None:
            ready.append(early[1])
            self._next += early[0]
            if self._before:
                ready += self._before.pop(self._next, [])
        return ready


class AsFedByKey(Generic[T]):
    """Items of one key leave in feed order, keys in any. Each item stands for one record, announced by `expect`."""

    def __init__(self) -> None:
        self._keys: dict[int, Hashable] = {}
        self._queues: dict[Hashable, deque[int]] = {}
        self._early: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._early)

    def expect(self, position: int, key: Hashable) -> None:
        """A record of this key has come in, later than all others of its key."""
        self._keys[position] = key
        self._queues.setdefault(key, deque()).append(position)

    def offer(self, first: int, count: int, item: T) -> list[T]:
        """It leaves when all before it in its key have."""
        if first not in self._keys or count != 1:
            raise InternalError(f"the answer for position {first} was offered twice, or never expected")
        key = self._keys.pop(first)
        self._early[first] = item
        queue, ready = self._queues[key], []
        while queue and queue[0] in self._early:
            ready.append(self._early.pop(queue.popleft()))
        if not queue:
            del self._queues[key]
        return ready
