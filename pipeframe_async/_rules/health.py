"""Whether a frame is live and ready: from what is to be seen of it to a verdict, and why.

Live: something has moved within `stall_after` seconds, or there is a reason why it has not. Ready: it can take more.
Comes in: a snapshot, how old that is, and the loop's state. Knows nothing of probes, files or pages.
"""

from __future__ import annotations

from typing import Final

from pipeframe_async.stats import Health, RunStats, Stats, WorkerStats

BLOCKED_SECONDS: Final = 5.0
"""Seconds that the loop may be blocked and the frame still be ready. Shorter takes a service out of its balancer for a
pause of the garbage collector; longer sends requests to one that answers none."""

PATIENT: Final = frozenset({"the feed", "the consumer", "the next attempt", "an ack or nack"})
"""Whom a run may wait for, however long: nothing is to do, or others are to do it, and a restart would not help."""


def health(stats: Stats, *, stall_after: float, blocked: float, refusing: bool = False, opened: bool = True) -> Health:
    """The verdict.

    Args:
        stats: of the frame.
        stall_after: seconds in which something must have moved.
        blocked: seconds for which the loop has had no turn.
        refusing: calls were refused just now.
        opened: runs and calls may still begin; else there are only those that run.
    """
    runs = [run for run in stats.runs if run.state != "closed"]
    oldest = max((run.oldest for run in runs if run.oldest is not None), default=None)
    quiet = min((run.quiet for run in runs), default=0.0)
    not_live = _blocked(blocked, stall_after) or next(filter(None, (_stands(run, stall_after) for run in runs)), "")
    not_ready = not_live or _not_ready(stats, runs, blocked, refusing=refusing, opened=opened)
    return Health(
        live=not not_live,
        ready=not not_ready,
        reason=not_live or not_ready,
        oldest_in_flight=oldest,
        last_progress=quiet + blocked,
    )


def _blocked(blocked: float, stall_after: float) -> str:
    return f"the event loop has been blocked for {blocked:.0f} s" if blocked > stall_after else ""


def _stands(run: RunStats, stall_after: float) -> str:
    """Why a run is taken for dead; empty where it is not."""
    if run.quiet <= stall_after or run.waits_for in PATIENT or not (run.counts.in_flight or run.counts.spilled):
        return ""
    if run.time_limit is not None and run.quiet <= run.time_limit and run.waits_for in ("a lane", "an async step"):
        return ""  # a record inside its limit: it will be ended if it is not done
    what = f", waiting for {run.waits_for}" if run.waits_for else ""
    return f"{run.pipeline} has stood still for {run.quiet:.0f} s with {run.counts.in_flight:,} in flight{what}"


def _not_ready(stats: Stats, runs: list[RunStats], blocked: float, *, refusing: bool, opened: bool) -> str:
    if not opened and not runs:
        return "the frame is not open, and nothing runs"
    if blocked > BLOCKED_SECONDS:
        return f"the event loop has been blocked for {blocked:.0f} s"
    if stopped := [run.pipeline for run in runs if run.state == "draining" and run.ended_by in ("stopped", "failed")]:
        return f"{stopped[0]} is stopping"
    if any(run.counts.away for run in runs):
        return f"the source of {next(run.pipeline for run in runs if run.counts.away)} is away"
    if stats.workers and not any(map(_up, stats.workers)):
        return f"no worker is up: {', '.join(dict.fromkeys(worker.state for worker in stats.workers))}"
    if not opened and runs and all(run.state == "draining" for run in runs):
        return f"the feed of {runs[0].pipeline} has ended"
    return "calls are refused" if refusing else ""


def _up(worker: WorkerStats) -> bool:
    """It works; or nobody has asked it to, and it starts when somebody does."""
    return worker.state in ("busy", "idle") or (worker.state == "stopped" and not worker.restarts)
