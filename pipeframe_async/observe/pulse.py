"""The pulse of a frame: on its loop, ten times a second, how late that is; and now and then a snapshot for others.

Whoever shows a frame runs in another thread and reads what is here: the last snapshot, and for how long the loop has
not had a turn. So a loop that is blocked is seen, and holds up nobody.

Process: the parent. `begin`, `end` and the beats on the loop; all else in any thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from pipeframe_async._rules.timing import Spread
from pipeframe_async.stats import Histogram, Stats

BEAT: Final = 0.1
"""Seconds between two looks at the clock. Shorter costs turns of the loop, longer misses short blocks."""
LOOK: Final = 0.5
"""Seconds between two snapshots: 0.6 ms each, so 0.1 % of the loop. Shorter costs more, longer looks stuck."""


class Pulse:
    """Beats from `begin` to `end`.

    Args:
        look: takes a snapshot; called on the loop.

    Attributes:
        stats: the last one.
    """

    def __init__(self, look: Callable[[], Stats]) -> None:
        self._look = look
        self._lateness = Spread()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = self._looks_at = 0.0
        self.stats = Stats()

    def begin(self) -> None:
        """Beat, on the loop that runs here."""
        self._looks_at = 0.0
        self._due = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._beat()

    def hurry(self) -> None:
        """Look with the next beat: something has begun or ended."""
        self._looks_at = 0.0

    def end(self) -> None:
        """A last look, and no more beats."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._see()

    @property
    def beats(self) -> bool:
        """Whether it has begun, and not ended."""
        return self._timer is not None

    def blocked(self) -> float:
        """Seconds for which the loop should have had a turn and has not."""
        return max(0.0, time.monotonic() - self._due) if self.beats else 0.0

    @property
    def abandoned(self) -> bool:
        """Whether the loop was closed before the end: it will never beat again."""
        return self.beats and self._loop is not None and self._loop.is_closed()

    def lateness(self) -> Histogram:
        """By how many seconds its turns came late."""
        return self._lateness.histogram()

    def _beat(self) -> None:
        now = time.monotonic()
        self._lateness.add(max(0, int((now - self._due) * 1e9)))
        try:
            if now >= self._looks_at:
                self._looks_at = now + LOOK
                self._see()
        finally:  # a look that fails is no death
            self._due = time.monotonic() + BEAT
            self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _see(self) -> None:
        self.stats = self._look()
