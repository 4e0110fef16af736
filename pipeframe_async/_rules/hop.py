"""What a batch's way to its worker and back takes, besides the work: seen from outside, where nobody else can tell."""

from __future__ import annotations


def hop_of(away: float, wall: float, idle: float | None) -> float | None:
    """Seconds of a hop; None where this batch does not tell.

    A batch that was away for longer than it was worked on was on its way meanwhile, or has waited behind another one.
    It has not waited where its worker had nothing to do for most of that time.

    Args:
        away: seconds from its leaving to its reply.
        wall: of them, those it was worked on.
        idle: seconds its worker had nothing to do before it; None for a worker's first batch, which may have had to
            wait until there was one.
    """
    hop = max(0.0, away - wall)
    return hop if idle is not None and 2 * idle >= hop else None
