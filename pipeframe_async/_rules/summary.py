"""From the counters of a run that has ended to its report."""

from __future__ import annotations

from collections.abc import Sequence

from pipeframe_async._rules.bottleneck import Usage, bottleneck
from pipeframe_async.report import RunReport
from pipeframe_async.stats import EndedBy, Stats, StepReport

DONE = "All of it was done before, and nothing was left to do: restart=True (--restart) begins anew."
IDLE = "The feed had not ended: it gave nothing for its timeout, and was ended."


def summary(stats: Stats, steps: Sequence[StepReport], usage: Usage, ended_by: EndedBy) -> RunReport:
    """The report of a run."""
    return RunReport(
        fed=stats.fed,
        emitted=stats.emitted,
        skipped=stats.skipped,
        delivered=stats.delivered,
        bypassed=stats.bypassed,
        filtered=stats.filtered,
        failed=stats.failed,
        aborted=stats.aborted,
        retried=stats.retried,
        re_executed=stats.re_executed,
        worker_restarts=stats.worker_restarts,
        ack_errors=stats.ack_errors,
        redelivered=stats.redelivered,
        reconnects=stats.reconnects,
        lag=stats.lag,
        elapsed=stats.elapsed,
        ended_by=ended_by,
        setup=usage.setup,
        skipping=usage.skipping,
        counters=stats.counters,
        steps=tuple(steps),
        bottleneck=" ".join(filter(None, (bottleneck(usage, steps), _beside(stats, ended_by)))),
    )


def _beside(stats: Stats, ended_by: EndedBy) -> str:
    """What there is to know of how it ended."""
    if ended_by == "idle":
        return IDLE
    return DONE if ended_by == "exhausted" and stats.fed and stats.fed == stats.skipped else ""
