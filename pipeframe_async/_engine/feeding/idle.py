"""The idle timer: ends a stream whose feed gives nothing while there is room for a record.

One timer, armed for when the timeout would be over and lazily re-armed: intake notes the time when the feed
pauses after records, which is once a burst and not once a record. Where the timer comes late, the loop was kept or the
process stopped, and the feed had no turn to give anything: it counts anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeframe_async._engine.supervise import PUNCTUAL


class IdleTimer:
    """Counts from the last pause of the feed.

    Args:
        timeout: seconds; None never ends.
        count: how many records were fed so far.
        dried: called once when nothing came for `timeout` seconds.
    """

    def __init__(self, timeout: float | None, count: Callable[[], int], dried: Callable[[], None]) -> None:
        self._timeout = timeout
        self._count = count
        self._dried = dried
        self._handle: asyncio.Handle | None = None
        self._since = self._due = 0.0

    def start(self) -> None:
        """Count from now: the feed is being waited for."""
        if self._timeout is not None:
            self.stop()
            self.touch()
            self._arm(self._timeout)

    def touch(self) -> None:
        """The feed has just given something and waits for more: count from now."""
        self._since = asyncio.get_running_loop().time()

    def stop(self) -> None:
        """Do not count: there is no room for a record, or the run is ending."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + delay
        self._handle = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        assert self._timeout is not None
        loop = asyncio.get_running_loop()
        if loop.time() - self._due > min(PUNCTUAL, self._timeout / 10):
            self._since = loop.time()
        if (left := self._since + self._timeout - loop.time()) > 0:
            self._arm(left)
        else:
            # A record that has arrived but not been handed over yet gets its turn of the loop first.
            self._handle = loop.call_soon(self._conclude, self._count())

    def _conclude(self, count: int) -> None:
        self._handle = None
        if self._count() == count:
            self._dried()
        else:
            self.start()
