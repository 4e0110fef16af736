"""Looks at what a worker is at, as long as there is a reason to, and ends it when that takes too long.

Reasons: a record over its `time_limit`, a batch nobody waits for any more, memory over `max_worker_rss` in the
middle of a record; `_rules/overtime.py` judges, here are the timer, the cursor and the signals. The cursor is read a
few times a limit, so that it costs the worker nothing and ends it at most `2 * LOOK_SECONDS + GRACE_SECONDS` after the
limit, whatever the code there is doing: a look to see the record begin, one to find it out of time, and the time for
its last words.

Process: lives in the parent; all of it runs on the loop, but that it is made in the lane's thread.
"""

from __future__ import annotations

import asyncio

from pipeframe_async._rules.overtime import EndedFor, Look, Order, Overtime
from pipeframe_async._worker.cursor import SPOKEN
from pipeframe_async._worker.memory import resident_bytes
from pipeframe_async._worker.postmortem import LAST_CALL
from pipeframe_async.executors.processes.worker import Worker
from pipeframe_async.wire import Spot


class Guard:
    """Watches one worker.

    Args:
        worker: whom.
        max_rss: resident bytes it may hold, or None.
        loop: where it is watched.
    """

    def __init__(self, worker: Worker, max_rss: int | None, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = worker
        self._loop = loop
        self._overtime = Overtime(max_rss, speaks=LAST_CALL is not None)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def busy(self) -> bool:
        """Whether the worker has batches."""
        return self._overtime.busy

    @property
    def why(self) -> EndedFor | None:
        """Why it was ended, or None where it was not."""
        return self._overtime.why

    def watch(self, ticket: int, limit: float | None) -> None:
        """The worker was given a batch."""
        if self._overtime.watch(ticket, limit):
            self._arm()

    def abandon(self, ticket: int) -> None:
        """Nobody waits for this batch any more."""
        if self._overtime.abandon(ticket, self._loop.time()):
            self._arm()

    def done(self, ticket: int) -> None:
        """The batch was answered, or the worker is gone."""
        self._overtime.done(ticket)
        if not self._overtime.busy and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self, why: EndedFor) -> None:
        """End the worker now, for a reason of somebody else's."""
        self._overtime.end(why)
        self._worker.kill()

    def _arm(self) -> None:
        if self._timer is None:
            interval = self._overtime.interval
            self._due = self._loop.time() + interval
            self._timer = self._loop.call_later(interval, self._look)

    def _look(self) -> None:
        """Called by the timer. The lane's thread may put the worker away at any moment of this, and close all of it."""
        self._timer = None
        now = self._loop.time()
        try:
            spot, spoken = self._worker.cursor.read(), bool(self._worker.cursor.cells[SPOKEN])
            self._obey(self._overtime.seen(Look(spot, now, now - self._due, spoken)), spot)
        except ValueError:  # closed
            return
        if not self._overtime.settled:
            self._arm()

    def _obey(self, order: Order, spot: Spot) -> None:
        match order:
            case Order.WEIGH:
                self._obey(self._overtime.weighed(resident_bytes(self._worker.pid)), spot)
            case Order.CALL:
                assert LAST_CALL is not None
                self._worker.cursor.seek(spot)
                self._worker.signal(LAST_CALL)
            case Order.END:
                self._worker.cursor.seek(spot)
                self._worker.kill()
