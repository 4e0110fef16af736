"""What a job that goes on does in other ways: how it bears failures, how it hands on, and who keeps where all are."""

from __future__ import annotations

from pipeframe_async._engine.delivering.hooks import Hook
from pipeframe_async._engine.feeding.trail import Trail
from pipeframe_async._engine.settling.checkpoint import Checkpointer, Job, Position
from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async._rules.budget import FailureBudget
from pipeframe_async._rules.edges import Back
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async.plan import Plan


def budget_of(plan: Plan, job: Job | None) -> FailureBudget:
    """How many failures are borne: in many lives of a job no more than in one."""
    budget = FailureBudget(plan.max_failures)
    if job is not None:
        totals = job.state.totals
        budget.spend(totals.get("failed", 0), sum(totals.get(name, 0) for name in ("delivered", "filtered", "failed")))
    return budget


def hands_on_whole(plan: Plan, job: Job | None) -> bool:
    """Whether what comes of a record must be handed on at once.

    One that is there in part is to be done again; in another order than the feed's there might be one at every moment.
    """
    return job is not None and plan.order != "input"


def checkpointer_of(
    plan: Plan,
    job: Job,
    finals: Finals,
    ledger: Ledger,
    trail: Trail,
    *,
    sink: Hook | None,
    dead_letter: Hook | None,
) -> Checkpointer:
    """Who keeps how far it has come, and where its ends are."""
    kept = plan.kept
    ends = {"sink": sink, "dead_letter": dead_letter}
    positions = {role: _position(hook, None if kept is None else getattr(kept, role)) for role, hook in ends.items()}
    return Checkpointer(job, finals, ledger, trail.marks, **positions)


def _position(hook: Hook | None, back: Back | None) -> Position | None:
    """An end that can be set back, called where it is given what comes."""
    if hook is None or back is None:
        return None
    ask, restore = (Hook(function, f"{hook.name}.{verb}", hook.thread) for verb, function in back._asdict().items())
    return Position(ask, restore)
