"""What the counters of a run say: how much is done, how fast, and that in words. Time comes with the counters."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from pipeframe_async.report import duration
from pipeframe_async.stats import Stats

RATE_WINDOW: Final = 3.0
"""Seconds a rate looks back. Shorter jumps about, longer hides that a run has slowed down."""


class Rate:
    """Records a second over the last few seconds, from snapshots."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque([(0.0, 0)])

    def at(self, stats: Stats) -> float:
        """The rate now; the snapshot is remembered."""
        seen = self._seen
        seen.append((stats.elapsed, done(stats)))
        while len(seen) > 2 and stats.elapsed - seen[1][0] >= RATE_WINDOW:
            seen.popleft()
        (before, count), (now, total) = seen[0], seen[-1]
        return (total - count) / (now - before) if now > before else 0.0


def overall_rate(stats: Stats) -> float:
    """Records a second over the whole run."""
    return (done(stats) - stats.skipped) / stats.elapsed if stats.elapsed > 0 else 0.0


def done(stats: Stats) -> int:
    """Records that have their outcome, in an earlier life of the job or in this one."""
    return stats.skipped + stats.delivered + stats.filtered + stats.failed + stats.aborted


def reached(stats: Stats) -> tuple[int, int]:
    """What is done, of what there is: of the feed's records, where it says how many it has; else of all so far.

    Nobody knows what those that are not fed yet fan out to, so the feed's are what a share can be of.
    """
    if stats.total is None:
        return done(stats), stats.fed + stats.emitted
    return max(0, done(stats) - stats.emitted), max(stats.fed, stats.total)


def eta(stats: Stats, rate: float) -> float | None:
    """Seconds until the end, if it goes on like this; None where nobody can say."""
    settled, _ = reached(stats)
    if stats.total is None or rate <= 0 or settled <= 0 or stats.total <= settled:
        return None
    return (stats.total - settled) / (rate * settled / done(stats))


def phrases(stats: Stats, rate: float, *, over: bool = False, beside_a_bar: bool = False) -> list[str]:
    """The counters in words, the most wanted first.

    Args:
        stats: the counters.
        rate: records a second.
        over: the run has ended, and nothing is left of what may not have been done.
        beside_a_bar: that shows the share, and needs the room.
    """
    at, of = reached(stats)
    fans_out = stats.total is not None and stats.emitted
    records = f"{done(stats):,} records" if fans_out else f"{at:,} of {of:,} records"
    said = [records, f"{rate:,.0f}/s", f"{stats.failed:,} failed"]
    if not over and (left := eta(stats, rate)) is not None:
        said.insert(1, f"{duration(left) if left >= 120 else f'{left:.0f} s'} left")
    if stats.skipped:
        said.append(f"{stats.skipped:,} done before")
    if stats.aborted:
        said.append(f"{stats.aborted:,} aborted")
    if stats.total is None or not beside_a_bar:
        said.append(f"{stats.in_flight:,} in flight")
    if stats.total and not beside_a_bar:
        said[0] += f" ({at / of:.0%}{' of the feed' if fans_out else ''})"
    if stats.spilled:
        said.append(f"{stats.spilled:,} on disk")
    if lanes := by_host(stats):
        said.append(f"{lanes.total():,} lanes on {len(lanes):,} host{'s' if len(lanes) > 1 else ''}")
    return said


def by_host(stats: Stats) -> Counter[str]:
    """How many lanes each host of a cluster has; of none, where all are here."""
    return Counter(worker.host for worker in stats.workers if worker.host is not None)
