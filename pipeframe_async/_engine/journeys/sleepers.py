"""Parts that failed and wait for their next attempt. Waiting costs a place in a heap, and no worker.

Task: none; one timer of the loop, set for the first who wakes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from pipeframe_async._rules.journey import Part

MOST_WOKEN = 100
"""Parts that go on at once after they have waited for their next attempt. More shows as lag of the loop."""


class Sleepers:
    """Wakes each when its time has come.

    Args:
        wake: called with the part, and the stage it goes on in.
    """

    def __init__(self, wake: Callable[[Part, int], None]) -> None:
        self._wake = wake
        self._asleep: set[Part] = set()
        self._due: list[tuple[float, int, Part, int]] = []  # a heap, with some who no longer sleep
        self._numbers = count()
        self._alarm: asyncio.Handle | None = None
        self._since: float | None = None  # some have been asleep
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """For how long any were asleep."""
        return self._seconds + (0.0 if self._since is None else time.perf_counter() - self._since)

    def _count(self) -> None:
        """Some sleep now, or none does any more."""
        if self._asleep and self._since is None:
            self._since = time.perf_counter()
        elif not self._asleep and self._since is not None:
            self._seconds, self._since = self.seconds, None

    def __len__(self) -> int:
        return len(self._asleep)

    def put(self, part: Part, stage: int, delay: float) -> None:
        """It sleeps for so many seconds, and goes on in this stage."""
        self._asleep.add(part)
        self._count()
        part.goes_to(self)
        heappush(self._due, (asyncio.get_running_loop().time() + delay, next(self._numbers), part, stage))
        if self._due[0][2] is part:
            self._set_alarm()

    def withdraw(self, part: Part) -> bool:
        """It wakes no more."""
        self._asleep.discard(part)
        self._count()
        return True

    def clear(self) -> list[Part]:
        """Remove those that sleep."""
        gone, self._asleep = [*self._asleep], set()
        self._count()
        return gone

    def close(self) -> None:
        """Wake nobody any more."""
        self._due.clear()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(self._due[0][0], self._rouse) if self._due else None

    def _rouse(self) -> None:
        """Those whose time has come go on; not too many in one turn of the loop."""
        now = asyncio.get_running_loop().time()
        for _ in range(MOST_WOKEN):
            if not self._due or self._due[0][0] > now:
                break
            _, _, part, stage = heappop(self._due)
            if part in self._asleep:
                self._asleep.discard(part)
                self._wake(part, stage)
        self._count()
        self._set_alarm()
