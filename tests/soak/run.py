"""The long run under fire: a million records, thousands of kills, and memory that does not grow.

`soak` makes the run and shows how far it is; `verdict` says what of it is not as it must be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.process.chaos import Figures, Sample, chaos

LANES = 4
POISON_EACH = 20
SECONDS_EACH = 0.0002
"""What a record's step sleeps: with four lanes, a million records take long enough for the kills."""

MAX_SHARE = 0.01
MAX_GROWTH = 4.0
"""MiB that the parent may grow after the first quarter. The allocator moves by one or two; a leak of a kilobyte
for each of 2,000 kills would be seen, and so would one of eight bytes a record."""


@dataclass(frozen=True, slots=True)
class Soak:
    """What is asked for: `kill_every` in seconds; small batches, for half a batch is what a kill costs."""

    records: int = 1_000_000
    min_kills: int = 2_000
    kill_every: float = 0.04
    batch_size: int = 4
    seed: int = 1


def soak(wanted: Soak, show: Callable[[str], None]) -> Figures:
    """Make the run, and tell `show` every few seconds how far it is."""

    def progress(now: Sample) -> None:
        show(
            f"{now.seconds:6.0f} s  {now.delivered:>9,} of {wanted.records:,} delivered  {now.kills:>5,} kills  "
            f"{now.restarts:>5,} workers anew  {now.rss:6.1f} MiB"
        )

    return asyncio.run(
        chaos(
            wanted.records,
            poison_each=POISON_EACH,
            lanes=LANES,
            kill_every=wanted.kill_every,
            seconds_each=SECONDS_EACH,
            batch_size=wanted.batch_size,
            seed=wanted.seed,
            progress=progress,
            sample_every=2.0,
        )
    )


def verdict(wanted: Soak, figures: Figures) -> Iterator[str]:
    """What is not as it must be, in words; nothing where all is well."""
    for name in ("lost", "duplicates", "disordered"):
        if number := getattr(figures, name):
            yield f"{name}: {number}"
    if figures.innocents:
        yield f"innocents blamed: {len(figures.innocents)}"
    if figures.found != figures.poison:
        yield f"poison found: {figures.found} of {figures.poison}"
    if figures.mistaken:
        yield f"poison taken for something else: {len(figures.mistaken)}"
    if figures.kills < wanted.min_kills:
        yield f"only {figures.kills:,} kills: fewer than the {wanted.min_kills:,} asked for"
    if figures.share > MAX_SHARE:
        yield f"re-executed {figures.share:.2%}: more than {MAX_SHARE:.0%}"
    if figures.growth > MAX_GROWTH:
        yield f"memory grew by {figures.growth:.1f} MiB after the first quarter: more than {MAX_GROWTH} MiB"
