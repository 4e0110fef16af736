"""Looks at what a worker is at, as long as there is a reason to, and ends it when that takes too long.

Reasons: a record over its `time_limit`, a batch nobody waits for any more, memory over `max_worker_rss` in the
middle of a record. It reads the worker's cursor a few times a limit, so that it costs the worker nothing and
ends it at most `2 * LOOK_SECONDS + GRACE_SECONDS` after the limit, whatever the code there is doing: a look to see
the record begin, one to find it out of time, and the time for its last words.

Process: lives in the parent; all of it runs on the loop.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeframe_async._worker.cursor import SPOKEN, Phase, Place
from pipeframe_async._worker.postmortem import LAST_CALL
from pipeframe_async.executors.processes.worker import Worker

LOOK_SECONDS = 0.04
"""Seconds between looks, at most. Longer ends records later, shorter costs the loop more wake-ups."""
GRACE_SECONDS = 0.075
"""Seconds a worker has to say its last words. Less cuts off large results, more delays the end of C code."""
ABANDONED_SECONDS = 0.1
"""Seconds a batch nobody waits for may go on. Batches take about 15 ms: less would kill healthy workers."""
SLOW_LOOP_SECONDS = 1.0
"""A look that comes so much late was not the worker's fault: that time is not held against its record."""
MEMORY_SECONDS = 0.2
"""Seconds a record runs before its worker's memory is looked at: short ones are looked at when they are answered."""

GROWTH = 1.05
"""How much more than at its first look a worker must hold for its record to be ended. Less is noise."""


@dataclass(slots=True)
class _Watch:
    limit: float | None
    abandoned: float | None = None


class Guard:
    """Watches one worker.

    Args:
        worker: whom.
        max_rss: resident bytes it may hold, or None.

    Attributes:
        reason: why it was ended: `"time_limit"`, `"abandoned"`, `"max_worker_rss"`, or `""` where it was not.
    """

    def __init__(self, worker: Worker, max_rss: int | None) -> None:
        self._worker = worker
        self._max_rss = max_rss
        self._loop = asyncio.get_running_loop()
        self._watches: dict[int, _Watch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._place: Place | None = None  # where the worker was at the last look
        self._since = 0.0
        self._called = False  # to say its last words
        self._rss = 0  # resident bytes when memory was first looked at for this record
        self.reason = ""

    @property
    def busy(self) -> bool:
        """Whether the worker has batches."""
        return bool(self._watches)

    def watch(self, ticket: int, limit: float | None) -> None:
        """The worker was given a batch."""
        self._watches[ticket] = _Watch(limit)
        if limit is not None or self._max_rss is not None:
            self._arm()

    def abandon(self, ticket: int) -> None:
        """Nobody waits for this batch any more."""
        if (watch := self._watches.get(ticket)) is not None:
            watch.abandoned = self._loop.time()
            self._arm()

    def done(self, ticket: int) -> None:
        """The batch was answered, or the worker is gone."""
        self._watches.pop(ticket, None)
        if not self._watches and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None:
            limits = [watch.limit for watch in self._watches.values() if watch.limit is not None]
            interval = min([LOOK_SECONDS, *(limit / 4 for limit in limits)])
            self._due = self._loop.time() + interval
            self._timer = self._loop.call_later(interval, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            place = self._worker.cursor.read()
        except ValueError:  # closed: the lane's thread has put the worker away
            return
        if place[:3] != (self._place or ())[:3]:
            self._place, self._since, self._called, self.reason, self._rss = place, now, False, "", 0
        elif (late := now - self._due) > SLOW_LOOP_SECONDS:
            self._since += late
        if (watch := self._watches.get(place.batch)) is not None and place.phase is not Phase.IDLE:
            self._judge(place, watch, now)
        if self.reason in ("", "time_limit"):
            self._arm()

    def _judge(self, place: Place, watch: _Watch, now: float) -> None:
        held = now - self._since
        if watch.abandoned is not None and now - watch.abandoned >= ABANDONED_SECONDS:
            self._end("abandoned")
        elif watch.limit is not None and place.phase is not Phase.LOADING and held >= watch.limit:
            self._time_out(place, held - watch.limit)
        elif self._max_rss is not None and place.at is not None and held >= MEMORY_SECONDS:
            self._end_if_large(self._max_rss)

    def _end_if_large(self, max_rss: int) -> None:
        """Only where it is this record that takes more and more: what `setup` holds is not its fault."""
        rss = _resident_bytes(self._worker.pid)
        self._rss = self._rss or rss
        if rss > max(max_rss, GROWTH * self._rss):
            self._end("max_worker_rss")

    def _time_out(self, place: Place, over: float) -> None:
        """Ask for last words first, where a record is at work; then there is no more asking."""
        if LAST_CALL is not None and place.at is not None and not self._called:
            self._called, self.reason = True, "time_limit"
            self._worker.cursor.seek(place)
            self._worker.signal(LAST_CALL)
        elif over >= GRACE_SECONDS or not self._called or self._worker.cursor.cells[SPOKEN]:
            self._worker.cursor.seek(place)
            self._end("time_limit")

    def _end(self, reason: str) -> None:
        self.reason = reason
        self._worker.kill()


def _resident_bytes(pid: int) -> int:
    """Resident bytes of a process, 0 where the system does not say."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
