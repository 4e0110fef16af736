"""What the page shows, as JSON: a snapshot, its rates, what is left, and how each run has gone.

Comes in: one snapshot after the other. Nothing of a record is in any of it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, replace
from typing import Any, Final

from pipeframe_async._rules.history import History
from pipeframe_async.observe.counters import Rate, eta, overall_rate, reached
from pipeframe_async.stats import Health, Histogram, RunStats, Stats, WorkerStats

RATE_SECONDS: Final = 3.0
"""Seconds a stage's rate looks back, as that of a run does."""


class View:
    """The page's view of one frame.

    Args:
        name: the frame's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._runs: dict[int, _RunView] = {}
        self._workers: tuple[WorkerStats, ...] = ()

    def see(self, stats: Stats) -> None:
        """A snapshot was taken."""
        if stats.workers:
            self._workers = stats.workers
        numbers = {run.number for run in stats.runs}
        self._runs = {number: view for number, view in self._runs.items() if number in numbers}
        for run in stats.runs:
            self._runs.setdefault(run.number, _RunView()).see(run)

    def told(self, stats: Stats, health: Health, lateness: Histogram, *, tracebacks: bool = False) -> dict[str, Any]:
        """What there is to show of a snapshot that was seen; `tracebacks`: with those of failures."""
        return {
            "frame": self._name,
            "at": time.time(),
            "health": asdict(health),
            "runs": [
                self._runs.setdefault(run.number, _RunView()).told(run, tracebacks=tracebacks)
                for run in reversed(stats.runs)
            ],
            "workers": [asdict(worker) for worker in stats.workers or map(_gone, self._workers)],
            "loop": {"p50": lateness.p50, "p99": lateness.p99},
        }


class _RunView:
    """One run: its rate, those of its stages, and how they have gone."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._seen: deque[tuple[float, list[int]]] = deque()
        self._history: History[tuple[float, int, int]] = History()
        self._over = False

    def see(self, run: RunStats) -> None:
        if self._over:
            return
        self._over = run.state == "closed"
        now = run.counts.elapsed
        rate = self._rate.at(run.counts)
        self._history.add(now, (round(rate, 1), run.counts.in_flight, run.counts.failed), last=self._over)
        self._seen.append((now, [stage.done for stage in run.stages]))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()

    def told(self, run: RunStats, *, tracebacks: bool) -> dict[str, Any]:
        counts = asdict(run.counts)
        for parts in ("runs", "before", "workers"):
            del counts[parts]
        rate = overall_rate(run.counts) if self._over else self._history[-1][1][0] if self._history else 0.0
        at, of = reached(run.counts)
        return {
            "pipeline": run.pipeline,
            "number": run.number,
            "kind": run.kind,
            "state": run.state,
            "ended_by": run.ended_by,
            "began": run.began,
            "counts": counts,
            "rate": rate,
            "done": at,
            "of": of if run.counts.total is not None or self._over else None,
            "eta": None if self._over else eta(run.counts, rate),
            "stages": [
                {**asdict(stage), "rate": stage_rate}
                for stage, stage_rate in zip(run.stages, self._stage_rates(run), strict=True)
            ],
            "steps": [asdict(step) for step in run.steps],
            "queue": _short(run.queue_seconds),
            "batch": _short(run.batch_records),
            "packing": _short(run.packing_seconds),
            "reading": _short(run.reading_seconds),
            "failures": [
                {
                    "step": group.step,
                    "kind": group.kind,
                    "error_type": group.error_type,
                    "count": group.count,
                    "newest": group.newest,
                    **({"traceback": group.traceback} if tracebacks else {}),
                }
                for group in run.failures
            ],
            "bottleneck": run.bottleneck,
            "waits_for": run.waits_for,
            "oldest": run.oldest,
            "quiet": run.quiet,
            "watermark": run.watermark,
            "history": [[round(when, 2), *values] for when, values in [*self._history]],
        }

    def _stage_rates(self, run: RunStats) -> list[float]:
        if self._over:
            return [stage.done / run.counts.elapsed if run.counts.elapsed > 0 else 0.0 for stage in run.stages]
        if not self._seen or (now := self._seen[-1][0]) <= (since := self._seen[0][0]):
            return [0.0] * len(run.stages)
        before, last = self._seen[0][1], self._seen[-1][1]
        return [round((there - here) / (now - since), 1) for here, there in zip(before, last, strict=True)]


def _gone(worker: WorkerStats) -> WorkerStats:
    """Of a worker of runs that are over: what it was."""
    return replace(worker, state="stopped", batches=0, busy_seconds=0.0)


def _short(histogram: Histogram) -> dict[str, float]:
    return {"p50": histogram.p50, "p99": histogram.p99, "count": histogram.count}
