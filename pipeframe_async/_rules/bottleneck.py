"""Which part bounded a run, as a sentence for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeframe_async.report import StepReport

MOSTLY = 0.6
"""Share of the time from which on a part is called the bottleneck."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the time of a run went, seconds.

    `work` is summed over the workers; `loop` is the event loop's own CPU time; `delivering` is what sink and
    dead_letter took; `taking` is how long one who iterates was at work with results rather than waiting.
    """

    elapsed: float
    workers: int
    work: float
    loop: float
    delivering: float
    taking: float


def bottleneck(usage: Usage, steps: Sequence[StepReport]) -> str:
    """One sentence; empty where nothing was measured."""
    if usage.elapsed <= 0 or not any(step.calls for step in steps):
        return ""
    busy = usage.work / (usage.elapsed * usage.workers)
    if busy > MOSTLY:
        top = max(steps, key=lambda step: step.seconds)
        share = top.seconds / (sum(step.seconds for step in steps) or 1.0)
        return (
            f"Bottleneck: the workers, busy for {_percent(busy)} of the run; "
            f"step {top.name!r} takes {_percent(share)} of their time."
        )
    if usage.delivering > MOSTLY * usage.elapsed:
        return f"Bottleneck: the sink, at work for {_percent(usage.delivering / usage.elapsed)} of the run."
    if usage.loop > MOSTLY * usage.elapsed:
        return (
            f"Bottleneck: the event loop, busy with feeding and moving records; the steps keep the workers busy for "
            f"{_percent(busy)} only. Chunk, a plain generator or heavier records would use them better."
        )
    if usage.taking > MOSTLY * usage.elapsed:
        return (
            f"Bottleneck: the consumer, at work with results for {_percent(usage.taking / usage.elapsed)} of the run."
        )
    return f"Bottleneck: the feed; the workers were busy for {_percent(busy)} of the run."


def _percent(share: float) -> str:
    return f"{min(1.0, share):.0%}"
