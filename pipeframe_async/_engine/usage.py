"""What a run has used and done, as it is now and when it has ended: its stats and its report.

Comes in: the organs of a run, which are looked at and never changed. Which of them bounded it decides
`_rules/bottleneck.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from pipeframe_async._engine.lanes.places import Places
from pipeframe_async._engine.wiring import Organs
from pipeframe_async._rules.bottleneck import Usage, bottleneck
from pipeframe_async._rules.summary import summary
from pipeframe_async._rules.timing import RECORDS
from pipeframe_async._rules.worth import At
from pipeframe_async.contracts import Logs
from pipeframe_async.report import RunReport
from pipeframe_async.stats import EndedBy, RunState, RunStats, StageStats, Stats, StepReport, WorkerStats


class Accounts:
    """The accounts of one run; they begin when they are made, on the run's loop.

    Args:
        organs: the run's.
        about: what is known of it from the start.
    """

    def __init__(self, organs: Organs, about: RunStats) -> None:
        self._organs = organs
        self._about = about
        self._thread = threading.get_ident()
        self._loop_seconds = 0.0  # CPU time of the loop, when it was looked at last
        self._moved_at = time.perf_counter()
        self._seen: object = None  # what would be other if anything had moved since
        self._restarts_before = organs.workforce.executor.restarts
        self._dropped_before = self._logs_dropped
        self._started, self._started_cpu = time.perf_counter(), time.thread_time()
        self._ended: float | None = None

    def stats(self) -> Stats:
        """The books as they are now: counters only. Looks only, so any thread may ask."""
        organs = self._organs
        counts = organs.intake.counts()
        stats = organs.books.ledger.stats(
            unbooked=organs.backlog.unbooked if self._ended is None else 0,
            elapsed=(self._ended or time.perf_counter()) - self._started,
            worker_restarts=organs.workforce.executor.restarts - self._restarts_before,
            total=organs.intake.length,
            ack_errors=organs.books.handles.errors + (organs.watermark.errors if organs.watermark is not None else 0),
        )
        return replace(
            stats,
            unacked=counts.unacked,
            redelivered=counts.redelivered,
            reconnects=counts.reconnects,
            lag=counts.lag,
            away=counts.away,
            counters=organs.counters.copy(),
            logs_dropped=self._logs_dropped - self._dropped_before,
            calls_waiting=0 if organs.calls is None else organs.calls.waiting,
            calls_rejected=0 if organs.calls is None else organs.calls.refused,
        )

    def seen(self, state: RunState, workers: Sequence[WorkerStats]) -> RunStats:
        """All there is to see of the run as it is now. Any thread may ask.

        Args:
            state: where it is in its life.
            workers: what the lanes are at.
        """
        organs, stats = self._organs, self.stats()
        now = time.perf_counter()
        position = organs.backlog.position if (first := organs.books.ledger.oldest) is None else first
        if threading.get_ident() == self._thread:
            organs.backlog.waits.settled(position)
        since = organs.backlog.waits.since(position) if stats.in_flight or stats.spilled else None
        steps = self._steps()
        return replace(
            self._about,
            state=state,
            counts=stats,
            stages=self._stages(stats),
            steps=tuple(steps),
            step_seconds=tuple(clock.spread.histogram() for stage in organs.stages for clock in stage.clocks),
            queue_seconds=organs.backlog.waits.spread.histogram(),
            batch_records=organs.batches.records.histogram(RECORDS, 1.0),
            packing_seconds=organs.batches.packing.histogram(),
            reading_seconds=organs.batches.reading.histogram(),
            failures=organs.collect.groups.groups(),
            bottleneck=bottleneck(self._usage(stats.elapsed), steps),
            waits_for="" if self._ended is not None else organs.waits_for(),
            oldest=None if since is None else max(0.0, now - since),
            quiet=self._quiet(stats, steps, workers, now),
            watermark=None if organs.finals is None else organs.finals.watermark,
        )

    def _quiet(self, stats: Stats, steps: Sequence[StepReport], workers: Sequence[WorkerStats], now: float) -> float:
        """Seconds in which nothing has moved, as far as it was looked at: no count, no step, no worker."""
        seen = replace(stats, elapsed=0.0), sum(step.calls for step in steps), tuple(worker.at for worker in workers)
        if seen != self._seen:
            self._seen, self._moved_at = seen, now
        return now - self._moved_at

    def _stages(self, stats: Stats) -> tuple[StageStats, ...]:
        """From the feed to the delivery: what each has. What waits to be delivered is all the others do not have."""
        organs, ended = self._organs, self._ended is not None
        waiting = 0 if ended else min(len(organs.backlog.records), stats.in_flight)
        first = organs.stages[0]
        feed = StageStats(
            "feed", "feed", stats.spilled, first.sizer.record_bytes(stats.spilled), done=stats.fed - stats.skipped
        )
        stages = [stage.stats() for stage in organs.stages]
        stages[0] = replace(
            stages[0],
            waiting=stages[0].waiting + waiting,
            waiting_bytes=stages[0].waiting_bytes + first.sizer.record_bytes(waiting),
        )
        left = stats.in_flight - sum(stage.waiting + stage.running for stage in stages)
        left_bytes = stats.in_flight_bytes - sum(stage.running_bytes for stage in stages)
        final = stats.delivered + stats.filtered + stats.failed + stats.aborted
        deliver = StageStats("deliver", "deliver", max(0, left), max(0, left_bytes) if left > 0 else 0, done=final)
        return (feed, *stages, deliver)

    @property
    def _logs_dropped(self) -> int:
        executor = self._organs.workforce.executor
        return executor.logs_dropped if isinstance(executor, Logs) else 0

    def moved(self) -> Stats:
        """The books without the clock: the same as before where nothing has moved."""
        return replace(self.stats(), elapsed=0.0)

    def conclude(self, ended_by: EndedBy) -> RunReport:
        """The run is over: its report."""
        self._ended = time.perf_counter()
        stats = self.stats()
        report = summary(stats, self._steps(), self._usage(stats.elapsed), ended_by)
        there = [stage.places.teardowns for stage in self._organs.def_stages]
        return replace(report, teardowns=there[0]) if there and there[0] is not None else report

    def _steps(self) -> list[StepReport]:
        """What each step has done."""
        both = any(stage.places.records.keys() - {At.WORKERS} for stage in self._organs.def_stages)
        steps = [clock.report() for stage in self._organs.stages for clock in stage.clocks]
        return [replace(step, where="both") if both and step.where != "loop" else step for step in steps]

    def _on_the_loop(self) -> float:
        """Seconds of CPU of the loop's thread; as it was looked at last, where another one asks."""
        if threading.get_ident() == self._thread:
            self._loop_seconds = time.thread_time() - self._started_cpu
        return self._loop_seconds

    def _usage(self, elapsed: float) -> Usage:
        organs, stages = self._organs, self._organs.def_stages
        sink, dead_letter, *_ = organs.hooks
        places = [stage.places for stage in stages]
        slowest = max(organs.async_stages, key=lambda stage: stage.seconds, default=None)
        return Usage(
            elapsed=elapsed,
            loop=self._on_the_loop(),
            delivering=sink.seconds if sink is not None else 0.0,
            burying=dead_letter.seconds if dead_letter is not None else 0.0,
            taking=elapsed - organs.results.waited if organs.results.taken else 0.0,
            workers=sum(lane.workers for lane in organs.workforce.executor.lanes) if places else 0,
            work=sum(stage.carrier.work_seconds for stage in stages),
            moving=sum(place.moving for place in places),
            worked=sum(place.worked for place in places),
            beside=_share(places, At.BESIDE),
            beside_work=sum(place.seconds[At.BESIDE] for place in places),
            threads=max((place.threads for place in places), default=0),
            threaded=_share(places, At.THREADS),
            threads_work=sum(place.seconds[At.THREADS] for place in places),
            slower=max((place.slower for place in places if place.slower is not None), default=None),
            may_move=any(place.can_move for place in places),
            awaiting=slowest.seconds / slowest.concurrency if slowest is not None else 0.0,
            concurrency=slowest.concurrency if slowest is not None else 0,
            starting=organs.dispatch.starting_seconds if places else 0.0,
            setup=max((stage.carrier.setup_seconds for stage in stages), default=0.0),
            feeding=organs.intake.seconds,
            sleeping=organs.journeys.slept,
            answering=organs.books.answering,
            skipping=organs.intake.skipping_seconds,
            lost=sum(stage.carrier.lost_seconds for stage in stages),
        )


def _share(places: Sequence[Places], at: At) -> float:
    """Of all records, those that were run at this kind of place."""
    return sum(place.records[at] for place in places) / max(1, sum(place.records.total() for place in places))
