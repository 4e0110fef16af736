"""How soon is the result of a live record back?

    python -m benchmarks.latency [--quick] [--repeats N] [--json FILE] [--plot FILE]

A thousand records a second come from a process of their own, each at its time, through a socket. A record counts from
the time it was due to its result in the parent.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.delays import HEAD, Delays, words
from benchmarks.asking.question import asked, left_out
from benchmarks.asking.table import aligned
from benchmarks.contestants.latency import CONTESTANTS, Contestant
from benchmarks.works.live import Live

QUESTION = "latency"
TITLE = "Milliseconds from arrival to the result in the parent, at 1,000 records a second"
REPEATS = 3
RATE = 1_000.0
WARM_UP, RECORDS = 1_000, 2_500
"""The workers start during the first second, which does not count; 3 × 2.5 s of records do."""
QUICK_WARM_UP, QUICK_RECORDS = 50, 150


def measured(contestant: Contestant, warm_up: int, records: int) -> list[float]:
    """Delays of one turn."""
    gc.collect()
    with Live(warm_up + records, RATE) as live:
        contestant.run(live)
        return live.delays(warm_up)


def table(found: dict[str, Delays], everybody: Sequence[Contestant]) -> str:
    """For people."""
    rows = [["contestant", "loop", *HEAD], *([c.label, c.loop or "–", *found[c.key].cells()] for c in everybody)]
    return aligned(rows)


def draw(found: dict[str, Any], file: Path) -> None:
    """p50 in front of p99."""
    rows = [
        Bar(_label(row), row["kind"] == "ours", 1e3 * row["p50"]["median"], 1e3 * row["p99"]["median"], words(row))
        for row in found["contestants"]
    ]
    bars(found, rows, "ms; dark p50, pale p99", file)


def _label(row: dict[str, Any]) -> str:
    return f"{row['label']} ({row['loop']})" if row["loop"] else row["label"]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    warm_up, records = (QUICK_WARM_UP, QUICK_RECORDS) if question.quick else (WARM_UP, RECORDS)
    everybody = [contestant for contestant in CONTESTANTS if contestant.is_here]
    found = {contestant.key: Delays() for contestant in everybody}
    for contestant in question.turns(everybody):
        found[contestant.key].turns.append(measured(contestant, warm_up, records))
    question.answer(
        TITLE,
        table(found, everybody) + left_out(contestant.key for contestant in CONTESTANTS),
        {
            "rate": RATE,
            "records": records,
            "warm_up": warm_up,
            "contestants": [
                {"key": c.key, "label": c.label, "kind": c.kind, "loop": c.loop, **found[c.key].as_json()}
                for c in everybody
            ],
        },
        draw,
    )


if __name__ == "__main__":
    main()
