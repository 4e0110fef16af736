"""Which part bounded a run, as a sentence for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from pipeframe_async.report import duration
from pipeframe_async.stats import StepReport

MOSTLY = 0.6
"""Share of the time from which on a part is called the bottleneck."""

TOO_SHORT = 0.2
"""Seconds below which a run says nothing: it is over before anything has settled."""
MANY = 10
"""Records from which on one that took most of the run is news."""

NOTABLE = 0.2
"""Share of the time from which on moving records is mentioned, where that is more than the steps took."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the time of a run went, seconds.

    `work` is summed over the workers, moving records included; `moving` is what of that and of this process's time was
    packing, copying and unpacking records, and `worked` what the steps of these records took; `beside` is the share of
    records that were run beside the loop, and `beside_work` the seconds of work on them; `threaded` and `threads_work`
    are those of the `threads` that share no GIL, and `slower` is how many times longer a record was measured to take
    there than where it came from, None where that was not tried; `may_move` is whether the executor was free to run any
    in this process. `loop` is the event loop's own CPU time; `delivering` is what the sink took,
    `burying` what dead_letter did; `taking` is how long one who iterates was at work with results rather than waiting.
    `awaiting` is how long all `concurrency` places of a run of async steps would have been taken. `starting` is the
    time until the first worker could be given a batch, `setup` what loading the steps and `setup` took in the worker
    that was slowest, `feeding` the time in which the feed was asked for records, `sleeping` that in which records
    waited for their next attempt, `lost` what workers that died had spent on the batch they had, summed, and
    `answering` that in which acks and nacks kept the event loop, or records waited for nothing but async ones;
    `skipping` how long the feed yielded what was done in an earlier life of the job.
    """

    elapsed: float
    loop: float
    delivering: float
    taking: float
    workers: int = 0
    work: float = 0.0
    moving: float = 0.0
    worked: float = 0.0
    beside: float = 0.0
    beside_work: float = 0.0
    threads: int = 0
    threaded: float = 0.0
    threads_work: float = 0.0
    slower: float | None = None
    may_move: bool = False
    awaiting: float = 0.0
    concurrency: int = 0
    starting: float = 0.0
    setup: float = 0.0
    feeding: float = 0.0
    sleeping: float = 0.0
    lost: float = 0.0
    burying: float = 0.0
    answering: float = 0.0
    skipping: float = 0.0


def bottleneck(usage: Usage, steps: Sequence[StepReport]) -> str:
    """One sentence; empty where nothing was measured."""
    if usage.elapsed <= 0 or not any(step.calls for step in steps):
        return ""
    return f"{_bound(usage, steps)}{_where(usage)}"


def _where(usage: Usage) -> str:
    """What auto has done, if anything."""
    if not (usage.beside or usage.threaded):
        return _unworthy(usage)
    return _beside(usage) + _threaded(usage)


def _beside(usage: Usage) -> str:
    if not usage.beside:
        return ""
    share = _percent(max(0.01, usage.beside))
    if not usage.worked:
        return f" {share} of the records were run in a thread beside the loop."
    return (
        f" {share} of the records were run in a thread beside the loop: moving one to a worker and back took "
        f"{_times(usage)} as long as the steps."
    )


def _threaded(usage: Usage) -> str:
    """What threads that share no GIL were found to be worth."""
    if not usage.threaded:
        return ""
    share = _percent(max(0.01, usage.threaded))
    said = f" {share} of the records were run in {usage.threads} threads of this process, without a GIL"
    if usage.slower is None:
        return f"{said}: too few to tell how long they take there."
    return f"{said}: a record was measured to take {usage.slower:.2g} times as long there as before."


def _unworthy(usage: Usage) -> str:
    """That moving records cost more than the steps, where it is not what bounded the run and is not said already."""
    notable = usage.moving > max(usage.worked, NOTABLE * usage.elapsed)
    if not notable or usage.may_move or _mostly_moving(usage, usage.work / (usage.elapsed * max(1, usage.workers))):
        return ""
    return (
        f" Moving records to the workers and back took {_times(usage)} as long as the steps ({duration(usage.moving)}, "
        f'steps {duration(usage.worked)}); executor="auto" or a plain loop saves that.'
    )


def _times(usage: Usage) -> str:
    return f"{usage.moving / usage.worked:,.1f} times" if usage.worked else "many times"


def _bound(usage: Usage, steps: Sequence[StepReport]) -> str:
    busy = usage.work / (usage.elapsed * usage.workers) if usage.workers else 0.0
    if said := _one_record(usage, steps):
        return said
    if usage.awaiting > MOSTLY * usage.elapsed:
        top = max((step for step in steps if step.where == "loop"), key=lambda step: step.seconds)
        return (
            f"Bottleneck: the async steps, with all of async_concurrency={usage.concurrency} places taken for "
            f"{_percent(usage.awaiting / usage.elapsed)} of the run, most by step {top.name!r}."
        )
    if _mostly_moving(usage, busy):
        advice = "" if usage.may_move else '; executor="auto" or a plain loop saves that'
        return (
            f"Bottleneck: moving records to the workers and back, which took {_times(usage)} as long as the steps "
            f"({duration(usage.moving)}, steps {duration(usage.worked)}){advice}."
        )
    if usage.beside_work > MOSTLY * usage.elapsed:
        return (
            f"Bottleneck: the steps, at work beside the loop for {_percent(usage.beside_work / usage.elapsed)} of it."
        )
    if usage.threads_work > MOSTLY * usage.elapsed * max(1, usage.threads):
        busy_there = _percent(usage.threads_work / (usage.elapsed * usage.threads))
        return f"Bottleneck: the steps, at work in {usage.threads} threads of this process for {busy_there} of the run."
    if busy > MOSTLY:
        away = [step for step in steps if step.where != "loop"] or steps
        top = max(away, key=lambda step: step.seconds)
        share = top.seconds / (sum(step.seconds for step in away) or 1.0)
        return (
            f"Bottleneck: the workers, busy for {_percent(busy)} of the run; "
            f"step {top.name!r} takes {_percent(share)} of their time."
        )
    if (took := usage.delivering + usage.burying) > MOSTLY * usage.elapsed:
        who = "the sink" if usage.delivering >= usage.burying else "dead_letter"
        return f"Bottleneck: {who}, at work for {_percent(took / usage.elapsed)} of the run."
    if usage.loop > MOSTLY * usage.elapsed:
        return (
            f"Bottleneck: the event loop, busy with feeding and moving records; the steps keep the workers busy for "
            f"{_percent(busy)} only. Chunk, a plain generator or heavier records would use them better."
        )
    if usage.taking > MOSTLY * usage.elapsed:
        return (
            f"Bottleneck: the consumer, at work with results for {_percent(usage.taking / usage.elapsed)} of the run."
        )
    return _outside(usage) or _too_short(usage) or _some_places(usage, steps) or _nothing(usage, busy)


def _one_record(usage: Usage, steps: Sequence[StepReport]) -> str:
    """That a single record of many took most of the run."""
    top = max(steps, key=lambda step: step.max)
    known = top.slowest is not None and top.calls >= MANY and usage.elapsed >= TOO_SHORT
    if not known or top.max <= MOSTLY * usage.elapsed:
        return ""
    return (
        f"Bottleneck: one record, at feed position {top.slowest}: step {top.name!r} took {duration(top.max)} over it, "
        f"{_percent(top.max / usage.elapsed)} of the run; p99 is {duration(top.p99)}."
    )


def _outside(usage: Usage) -> str:
    """What has kept records from being worked on, where something has for most of the time."""
    busy = f"; the workers were busy for {_percent(usage.work / (usage.elapsed * max(1, usage.workers)))}"
    waited, answering = _percent(usage.feeding / usage.elapsed), _percent(usage.answering / usage.elapsed)
    said = [
        (usage.feeding, f"the feed, at work or waiting for its source for {waited} of the run{busy}."),
        (
            usage.setup,
            f"loading the steps and setup, which took {duration(usage.setup)} in a worker; a warm frame does it once.",
        ),
        (usage.starting, f"starting the workers, {duration(usage.starting)}; a warm frame keeps them."),
        (usage.sleeping, f"waiting for the next attempt of records that failed, {duration(usage.sleeping)}."),
        (
            usage.answering,
            f"acks and nacks, which had {answering} of the run to themselves; one request for many would be faster.",
        ),
        (usage.lost, f"workers that died or were ended over a record, {duration(usage.lost)} of work that was lost."),
    ]
    seconds, most = max(said)
    return f"Bottleneck: {most}" if seconds > MOSTLY * usage.elapsed else ""


def _too_short(usage: Usage) -> str:
    return f"Bottleneck: too short a run to tell, {duration(usage.elapsed)}." if usage.elapsed < TOO_SHORT else ""


def _some_places(usage: Usage, steps: Sequence[StepReport]) -> str:
    """That steps were at work all the time, and not in all places: few records, one key, a batch for all of them."""
    before = max(usage.setup, usage.starting, usage.feeding, usage.sleeping, usage.lost)
    after = max(usage.delivering, usage.burying, usage.taking, usage.answering)
    working = min(usage.work / usage.elapsed, usage.workers)
    awaiting = usage.awaiting * usage.concurrency / usage.elapsed
    if max(before, after) > (1 - MOSTLY) * usage.elapsed or max(working, awaiting) < MOSTLY:
        return ""
    on_the_loop = awaiting > working
    there = [step for step in steps if (step.where == "loop") is on_the_loop] or steps
    top = max(there, key=lambda step: step.seconds)
    places = (
        f"{awaiting:.1f} of async_concurrency={usage.concurrency} places"
        if on_the_loop
        else f"{working:.1f} of {usage.workers} workers"
    )
    return f"Bottleneck: the steps, most of all {top.name!r}, which had records for {places} at a time."


def _nothing(usage: Usage, busy: float) -> str:
    """Where nothing has taken most of the time."""
    shares = {
        "the workers": busy if usage.workers else 0.0,
        "starting them": usage.starting / usage.elapsed,
        "loading steps and setup": usage.setup / usage.elapsed,
        "the feed": usage.feeding / usage.elapsed,
        "the event loop": usage.loop / usage.elapsed,
        "the sink": usage.delivering / usage.elapsed,
        "dead_letter": usage.burying / usage.elapsed,
        "the consumer": usage.taking / usage.elapsed,
        "waiting for next attempts": usage.sleeping / usage.elapsed,
        "the async steps": usage.awaiting / usage.elapsed,
        "acks": usage.answering / usage.elapsed,
        "workers that died": usage.lost / usage.elapsed,
    }
    told = [f"{name} {_percent(share)}" for name, share in sorted(shares.items(), key=itemgetter(1), reverse=True)]
    rest = (
        "; on_progress, or others on this loop or in these workers, had the rest"
        if sum(shares.values()) < 1 - MOSTLY
        else ""
    )
    return f"Bottleneck: nothing alone: {', '.join(told[:3])} of the run{rest}."


def _mostly_moving(usage: Usage, busy: float) -> bool:
    """Whether records on their way kept somebody busy for longer than the steps were; and nobody else is to blame."""
    if usage.moving <= usage.worked or usage.beside + usage.threaded > 1 - MOSTLY:
        return False
    if max(usage.delivering + usage.burying, usage.taking) > MOSTLY * usage.elapsed and busy <= MOSTLY:
        return False
    return busy > MOSTLY or usage.loop > MOSTLY * usage.elapsed or usage.moving > MOSTLY * usage.elapsed


def _percent(share: float) -> str:
    return f"{min(1.0, share):.0%}"
