"""The idle timer: ends a stream whose feed gives nothing while there is room for a record.

One timer, re-armed a few times per timeout and never touched per record. A look finds out whether the count
of records has moved since the last one; an idle stream therefore ends between one timeout and 1/8 more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOKS = 8
"""Looks per timeout while records come. Fewer end a stream later, more cost timers."""


class IdleTimer:
    """Watches a count.

    Args:
        timeout: seconds; None never ends.
        count: how many records were fed so far.
        dried: called once when nothing came for `timeout` seconds.
    """

    def __init__(self, timeout: float | None, count: Callable[[], int], dried: Callable[[], None]) -> None:
        self._timeout = timeout
        self._count = count
        self._dried = dried
        self._handle: asyncio.TimerHandle | None = None
        self._seen = -1
        self._since = 0.0

    def start(self) -> None:
        """Count from now: the feed is being waited for."""
        if self._timeout is None:
            return
        self.stop()
        self._since = asyncio.get_running_loop().time()
        self._seen = self._count()
        self._arm(self._timeout / LOOKS)

    def stop(self) -> None:
        """Do not count: there is no room for a record, or the run is ending."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, delay: float) -> None:
        self._handle = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        assert self._timeout is not None
        loop = asyncio.get_running_loop()
        now, count = loop.time(), self._count()
        if count != self._seen:
            self._seen, self._since = count, now
            self._arm(self._timeout / LOOKS)
        elif (left := self._since + self._timeout - now) > 0:
            self._arm(left)
        else:
            # A record that has arrived but not been handed over yet gets its turn of the loop first.
            self._handle = None
            loop.call_soon(self._conclude, count)

    def _conclude(self, count: int) -> None:
        if self._handle is None:
            if self._count() == count:
                self._dried()
            else:
                self.start()
