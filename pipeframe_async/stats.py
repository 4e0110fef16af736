"""What there is to see of runs, as values: counts, stages, steps, workers, failures by group, how long things take.

One snapshot has all of it, and whatever shows a run is made of that: a bar, a page, metrics, a health check. Nothing
here measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

EndedBy = Literal["exhausted", "idle", "stopped", "failed", "cancelled"]

RunState = Literal["feeding", "draining", "closed"]
RunKind = Literal["run", "stream", "calls"]


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """How a live source stands with its server, in records.

    `unacked` were delivered to this run and the server has no answer for them yet; `redelivered` had been delivered
    before, to somebody; `reconnects` counts connections after the first; `lag` are records that the server still has
    for it, None where that is not known; `away` is whether the server could not be reached when it was last tried.
    """

    unacked: int = 0
    redelivered: int = 0
    reconnects: int = 0
    lag: int | None = None
    away: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a quantity is spread: seconds, or records.

    `bounds` are upper bounds, and `counts` how many were at most so large, so the last of these is less than `count`
    where some were larger; `sum` is that of all. Counts are no whole numbers where only some were measured, which then
    stand for the others. `p50` and `p99` are within an eighth of the true ones.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    count: float = 0.0
    sum: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step: `calls` are counted, times are measured where it ran (seconds), on a sample where steps are fast.

    `seconds` are those of all calls together, `mean`, `p50`, `p99` and `max` those of one; `slowest` is the feed
    position of the record that took longest, None where that is not known. `where` is what it ran in: `"worker"`,
    `"loop"`, `"thread"`, `"inline"` or `"executor"`; `"both"` where `"auto"` has moved it.
    """

    name: str
    where: str
    calls: int
    seconds: float
    mean: float
    p50: float
    p99: float
    max: float = 0.0
    slowest: int | None = None


@dataclass(frozen=True, slots=True)
class StageStats:
    """One part of the way that records go: what waits for it, what is in it, and how many came out of it.

    `kind` is `"feed"`, `"steps"` or `"deliver"`. `waiting` are records that wait to be taken by it (of the feed: on
    disk), `running` those it is at work with, both with their bytes, which are guessed where records have not been
    pickled. `done` counts since the start of the run: records fed, records that have come through its steps, records
    that are final.
    """

    name: str
    kind: Literal["feed", "steps", "deliver"]
    waiting: int = 0
    waiting_bytes: int = 0
    running: int = 0
    running_bytes: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One lane and the worker it has.

    `state` is `"busy"`, `"idle"`, `"starting"`, `"restarting"` or `"stopped"`; `pid` is None where it is no process of
    its own. `batches` are with it, `busy_seconds` is how long it has had something to do without a break. `restarts`
    counts by cause: `"crashed"`, `"killed"` (by somebody else), `"time_limit"`, `"memory"` (`max_worker_rss` in the
    middle of a record), `"worn"` (`max_worker_rss`, `max_worker_batches`), `"abandoned"` (at work for nobody any more).
    `at` is what it is at, as the batch and the index of the record in it; it changes whenever the worker goes on.
    `host` is where it is on a cluster, None on this machine.
    """

    name: str
    state: Literal["busy", "idle", "starting", "restarting", "stopped"]
    pid: int | None = None
    batches: int = 0
    busy_seconds: float = 0.0
    restarts: Mapping[str, int] = field(default_factory=dict)
    at: tuple[int, int] | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one step, kind and error type.

    `newest` is when the last one came, in seconds since the epoch. `traceback` is that of the first, without the
    messages of its errors, which may have something of a record in them.
    """

    step: str
    kind: str
    error_type: str
    count: int
    newest: float
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of the running counters. Counts of records; `in_flight_bytes` in bytes, `elapsed` in seconds.

    At every instant `fed + emitted == skipped + delivered + filtered + failed + aborted + in_flight + spilled`;
    `bypassed` are among the delivered, and `skipped` were done in an earlier life of a job with a checkpoint. `spilled`
    is what a batch feed holds on disk until there is room. `total` is how many records the feed has, where it says so
    (`len(feed)`) and has not turned out to be wrong, else None.
    `unacked`, `redelivered`, `reconnects`, `lag` and `away` are a live source's, as `SourceCounts` has them; `retried`,
    `re_executed`, `worker_restarts` and `ack_errors` are as `RunReport` has them.
    `counters` are what steps have counted, by name (`pipeframe_async.count`). `calls_waiting` are calls that wait to
    be begun, `calls_rejected` those that were refused with `Overloaded`, `logs_dropped` lines that steps have logged
    faster than they could be handled.

    Of a frame (`frame.stats()`): the sums over its runs; one by one those `runs` and the last that have ended, and the
    `workers`; and `before`, together by pipeline, the runs that ended earlier.
    """

    fed: int = 0
    emitted: int = 0
    skipped: int = 0
    delivered: int = 0
    bypassed: int = 0
    filtered: int = 0
    failed: int = 0
    aborted: int = 0
    retried: int = 0
    re_executed: int = 0
    worker_restarts: int = 0
    ack_errors: int = 0
    in_flight: int = 0
    in_flight_bytes: int = 0
    spilled: int = 0
    elapsed: float = 0.0
    total: int | None = None
    unacked: int = 0
    redelivered: int = 0
    reconnects: int = 0
    lag: int | None = None
    away: bool = False
    counters: Mapping[str, int] = field(default_factory=dict)
    calls_waiting: int = 0
    calls_rejected: int = 0
    logs_dropped: int = 0
    runs: tuple[RunStats, ...] = ()
    before: tuple[RunStats, ...] = ()
    workers: tuple[WorkerStats, ...] = ()

    def __add__(self, other: Stats) -> Stats:
        """The books of two runs together; `elapsed` is the longer one, and what one does not know is not known."""
        both = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name not in _APART}
        sums: dict[str, Any] = {name: None if None in pair else sum(pair) for name, pair in both.items()}
        names = dict.fromkeys((*self.counters, *other.counters))
        return Stats(
            **sums,
            elapsed=max(self.elapsed, other.elapsed),
            away=self.away or other.away,
            counters={name: self.counters.get(name, 0) + other.counters.get(name, 0) for name in names},
            runs=(*self.runs, *other.runs),
            before=self.before or other.before,
            workers=self.workers or other.workers,
        )


_APART = frozenset({"elapsed", "away", "counters", "runs", "before", "workers"})


@dataclass(frozen=True, slots=True)
class RunStats:
    """One run of a frame, or the run that the calls of one pipeline go through.

    Attributes:
        pipeline: its name.
        number: of the run in its frame, from 1; tells runs of one pipeline apart.
        kind: `"run"`, `"stream"` or `"calls"`.
        state: `"feeding"`, `"draining"` (no more is fed) or `"closed"`.
        ended_by: why no more is fed; None while more is.
        began: when, in seconds since the epoch.
        counts: its counters.
        stages: the way its records go, from the feed to the delivery.
        steps: as its report will have them.
        step_seconds: of each step, in the order of `steps`.
        queue_seconds: how long records waited between the feed and the first worker or step that took them.
        batch_records: how many records batches had.
        packing_seconds, reading_seconds: of a batch, to bytes and back, in this process.
        failures: by group; at most 500, what is beyond those is in one group more that has no names.
        bottleneck: what bounds it, a sentence.
        waits_for: whom outside of it the run waits for: `"a lane"`, `"the feed"`, `"the consumer"` …; empty where it
            is at work by itself.
        oldest: seconds since the oldest record that has no outcome yet was fed; None where there is none.
        quiet: seconds since anything of it has moved.
        watermark: how many records from the start of the feed are all final; None where nobody follows that.
        time_limit: that of its steps.
    """

    pipeline: str
    number: int = 1
    kind: RunKind = "run"
    state: RunState = "feeding"
    ended_by: EndedBy | None = None
    began: float = 0.0
    counts: Stats = field(default_factory=Stats)
    stages: tuple[StageStats, ...] = ()
    steps: tuple[StepReport, ...] = ()
    step_seconds: tuple[Histogram, ...] = ()
    queue_seconds: Histogram = field(default_factory=Histogram)
    batch_records: Histogram = field(default_factory=Histogram)
    packing_seconds: Histogram = field(default_factory=Histogram)
    reading_seconds: Histogram = field(default_factory=Histogram)
    failures: tuple[FailureGroup, ...] = ()
    bottleneck: str = ""
    waits_for: str = ""
    oldest: float | None = None
    quiet: float = 0.0
    watermark: int | None = None
    time_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a program is well, for whoever restarts it or sends it work.

    Attributes:
        live: something has moved within `stall_after` seconds, or there is nothing to do. Where it is false, a restart
            is the remedy.
        ready: it can take more: its workers are up, its feed is open and its source there, it is not draining, and
            refuses no calls.
        reason: why it is not live, or else not ready; empty where it is both.
        oldest_in_flight: seconds since the oldest record that has no outcome was fed; None where there is none.
        last_progress: seconds since anything has moved, as far as it was looked at.
    """

    live: bool
    ready: bool
    reason: str = ""
    oldest_in_flight: float | None = None
    last_progress: float = 0.0
