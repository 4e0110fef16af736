"""What a run has used and done, as it is now and when it has ended: its stats and its report.

Comes in: the organs of a run, which are looked at and never changed. Which of them bounded it decides
`_rules/bottleneck.py`.
"""

from __future__ import annotations

import time
from dataclasses import replace

from pipeframe_async._engine.wiring import Organs
from pipeframe_async._rules.bottleneck import Usage
from pipeframe_async._rules.summary import summary
from pipeframe_async.report import RunReport
from pipeframe_async.stats import EndedBy, Stats, StepReport


class Accounts:
    """The accounts of one run; they begin when they are made.

    Args:
        organs: the run's.
    """

    def __init__(self, organs: Organs) -> None:
        self._organs = organs
        self._restarts_before = organs.workforce.executor.restarts
        self._started, self._started_cpu = time.perf_counter(), time.thread_time()
        self._ended: float | None = None

    def stats(self) -> Stats:
        """The books as they are now. Looks only, so any thread may ask."""
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
        )

    def moved(self) -> Stats:
        """The books without the clock: the same as before where nothing has moved."""
        return replace(self.stats(), elapsed=0.0)

    def conclude(self, ended_by: EndedBy) -> RunReport:
        """The run is over: its report."""
        self._ended = time.perf_counter()
        stats = self.stats()
        return summary(stats, self._steps(), self._usage(stats.elapsed), ended_by)

    def _steps(self) -> list[StepReport]:
        """What each step has done."""
        both = any(stage.places.beside_records for stage in self._organs.def_stages)
        steps = [clock.report() for stage in self._organs.stages for clock in stage.clocks]
        return [replace(step, where="both") if both and step.where != "loop" else step for step in steps]

    def _usage(self, elapsed: float) -> Usage:
        organs, stages = self._organs, self._organs.def_stages
        sink, dead_letter, *_ = organs.hooks
        places = [stage.places for stage in stages]
        slowest = max(organs.async_stages, key=lambda stage: stage.seconds, default=None)
        return Usage(
            elapsed=elapsed,
            loop=time.thread_time() - self._started_cpu,
            delivering=sink.seconds if sink is not None else 0.0,
            burying=dead_letter.seconds if dead_letter is not None else 0.0,
            taking=elapsed - organs.results.waited if organs.results.taken else 0.0,
            workers=sum(lane.workers for lane in organs.workforce.executor.lanes) if places else 0,
            work=sum(stage.carrier.work_seconds for stage in stages),
            moving=sum(place.moving for place in places),
            worked=sum(place.worked for place in places),
            beside=sum(place.beside_records for place in places) / max(1, sum(place.records for place in places)),
            beside_work=sum(place.beside_seconds for place in places),
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
