"""When a worker has taken too long, or too much: from what is seen of it to what is done about it, and why.

Comes in: the batches it has, each with its limit, and one look after the other: where it is, and when that was.
Goes out: an `Order`. Must not know how one looks at a worker, asks or ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pipeframe_async.wire import Phase, Spot

LOOK_SECONDS = 0.04
"""Seconds between looks, at most. Longer ends records later, shorter costs the loop more wake-ups."""
LOOKS_A_LIMIT = 4
"""Looks in the time of a limit shorter than that of so many. Fewer end its records late, more cost wake-ups."""
GRACE_SECONDS = 0.075
"""Seconds a worker has to say its last words. Less cuts off large results, more delays the end of C code."""
ABANDONED_SECONDS = 0.1
"""Seconds a batch nobody waits for may go on. Batches take about 15 ms: less would kill healthy workers."""
NOT_BEGUN_SECONDS = 5.0
"""What a worker has, on top of the limit, to begin with what it was given. Less ends those of a machine that swaps."""
MEMORY_SECONDS = 0.2
"""Seconds a record runs before it is ended for what it takes: short ones are looked at when they are answered."""

GROWTH = 1.05
"""How much more than when its record was first seen a worker must hold for it to be ended. Less is noise."""


class EndedFor(Enum):
    """Why we have ended a worker; one that died by itself, or by somebody else, has no such reason."""

    TIME_LIMIT = "time_limit"
    ABANDONED = "abandoned"
    MEMORY = "max_worker_rss"
    OVERDUE = "overdue"
    """It was to end, and took too long."""
    NOT_BEGUN = "not begun"
    """It had nothing else to do, and did not begin with the batch it was given."""


class Order(Enum):
    """What is to be done after a look."""

    NOTHING = "nothing"
    WEIGH = "weigh"
    """Read how much memory it holds, and tell."""
    CALL = "call"
    """Ask for its last words; it is ended when it has said them, or has had time to."""
    END = "end"


class Look(NamedTuple):
    """What was seen of a worker.

    Attributes:
        spot: where it is.
        now: when that was seen, seconds.
        late: by how many seconds the look came later than it was due.
        spoken: whether it has said its last words.
    """

    spot: Spot
    now: float
    late: float = 0.0
    spoken: bool = False


@dataclass(slots=True)
class _Watch:
    limit: float | None
    abandoned: float | None = None  # when


class Overtime:
    """Judges one worker.

    Args:
        max_rss: resident bytes it may hold, or None.
        speaks: whether it can be asked for its last words, which takes signals.

    Attributes:
        why: why it is to be ended, or None. A time limit is taken back where the record ends all the same.
    """

    def __init__(self, max_rss: int | None, *, speaks: bool) -> None:
        self._max_rss = max_rss
        self._speaks = speaks
        self._watches: dict[int, _Watch] = {}
        self._spot: Spot | None = None  # where it was at the last look
        self._since = 0.0  # when it was first seen there
        self._called = False  # to say its last words
        self._rss = 0  # resident bytes when it was first seen there
        self.why: EndedFor | None = None

    @property
    def busy(self) -> bool:
        """Whether the worker has batches."""
        return bool(self._watches)

    @property
    def settled(self) -> bool:
        """Whether it is ended for good: there is nothing more to look for."""
        return self.why not in (None, EndedFor.TIME_LIMIT)

    @property
    def interval(self) -> float:
        """Seconds until the next look."""
        limits = [watch.limit for watch in self._watches.values() if watch.limit is not None]
        return min([LOOK_SECONDS, *(limit / LOOKS_A_LIMIT for limit in limits)])

    def watch(self, ticket: int, limit: float | None) -> bool:
        """The worker was given a batch; whether there is something to look for."""
        if not self._watches:
            self._spot = None  # where it was when it had nothing to do says nothing
        self._watches[ticket] = _Watch(limit)
        return limit is not None or self._max_rss is not None

    def abandon(self, ticket: int, now: float) -> bool:
        """Nobody waits for this batch any more; whether the worker still has it."""
        watch = self._watches.get(ticket)
        if watch is not None:
            watch.abandoned = now
        return watch is not None

    def done(self, ticket: int) -> None:
        """The batch was answered, or the worker is gone."""
        self._watches.pop(ticket, None)

    def seen(self, look: Look) -> Order:
        """What a look makes necessary."""
        if self.settled:
            return Order.NOTHING
        if not self._stayed(look.spot):
            self._spot, self._since, self._called, self._rss, self.why = look.spot, look.now, False, 0, None
        else:
            self._since += max(0.0, look.late)  # it may have stood still with us: that time is not its record's
        watch = self._watches.get(look.spot.batch)
        if watch is None or look.spot.phase is Phase.IDLE:
            return self._idle(look)
        return self._judged(look, watch)

    def _idle(self, look: Look) -> Order:
        """It is at nothing that it was given, though it has been given something."""
        limits = [watch.limit for watch in self._watches.values() if watch.limit is not None]
        if limits and look.now - self._since >= max(limits) + NOT_BEGUN_SECONDS:
            return self.end(EndedFor.NOT_BEGUN)
        return Order.NOTHING

    def weighed(self, rss: int) -> Order:
        """What so many resident bytes make necessary.

        Only where it is more than when the record was first seen: what `setup` holds is not its fault.
        """
        self._rss = self._rss or rss
        if self._max_rss is None or rss <= max(self._max_rss, GROWTH * self._rss):
            return Order.NOTHING
        return self.end(EndedFor.MEMORY)

    def end(self, why: EndedFor) -> Order:
        """It is ended for this."""
        self.why = why
        return Order.END

    def _stayed(self, spot: Spot) -> bool:
        """Whether it is where it was: its step may be another one, the limit is the record's; or that of one call
        where a step has many at once.
        """
        return self._spot is not None and _place(spot) == _place(self._spot)

    def _judged(self, look: Look, watch: _Watch) -> Order:
        spot, held = look.spot, look.now - self._since
        if watch.abandoned is not None and look.now - watch.abandoned >= ABANDONED_SECONDS:
            return self.end(EndedFor.ABANDONED)
        if watch.limit is not None and spot.phase is not Phase.LOADING and held >= watch.limit:
            return self._timed_out(look, held - watch.limit)
        weighs = self._max_rss is not None and spot.at is not None
        # At once too, for what it holds that is not this record's: `setup` may have taken it.
        return Order.WEIGH if weighs and (held >= MEMORY_SECONDS or not self._rss) else Order.NOTHING

    def _timed_out(self, look: Look, over: float) -> Order:
        """Ask for last words first, where a record is at work; then there is no more asking."""
        if self._speaks and look.spot.at is not None and not self._called:
            self._called, self.why = True, EndedFor.TIME_LIMIT
            return Order.CALL
        if over >= GRACE_SECONDS or not self._called or look.spoken:
            return self.end(EndedFor.TIME_LIMIT)
        return Order.NOTHING


def _place(spot: Spot) -> tuple[int | None, ...]:
    return spot[:3] if spot.end is None else spot
