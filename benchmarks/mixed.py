"""What does a chain cost that waits, computes and waits again?

    python -m benchmarks.mixed [--quick] [--repeats N] [--json FILE] [--plot FILE]

Each record is fetched (20 ms), worked on (2 ms of CPU) and stored (5 ms), 64 at a time where it waits. Two workers on
ideal cores would do a thousand a second, so what is missing to that was spent on anything but work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.cell import cell
from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Spread, asked, left_out
from benchmarks.asking.table import aligned
from benchmarks.cells.mixed import WORK_SECONDS
from benchmarks.contestants.line_up import is_here
from benchmarks.contestants.peers import WORKERS
from benchmarks.works.cpu import rounds_in

QUESTION = "mixed"
TITLE = "Records per second that are fetched, worked on and stored"
REPEATS = 3
RECORDS, QUICK_RECORDS = 4_000, 40
IDEAL = WORKERS / WORK_SECONDS
LABELS = {
    "ours": "ours",
    "by_hand": "asyncio and a pool, by hand",
    "width": "the same, as many at a time as workers",
    "spdl": "SPDL",
}
FEWER = {"width": 20}
"""Contestants so slow that they get so many times fewer records."""


def measured(key: str, records: int, rounds: int) -> float:
    """One turn: records a second.

    Raises:
        WrongWork: results were lost, wrong or out of order.
    """
    records = max(1, records // FEWER.get(key, 1))
    found = cell("benchmarks.cells.mixed", key, records, rounds)
    if not found["right"]:
        raise WrongWork(f"{LABELS[key]}: results were lost, wrong or out of order")
    return float(records / found["seconds"])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    ours = rows[0]["rate"]["median"]
    lines = [
        [
            row["label"],
            Spread(**row["rate"]).words(1, 0),
            f"{row['rate']['median'] / IDEAL:.0%}",
            f"{ours / row['rate']['median']:.2f}",
        ]
        for row in rows
    ]
    return aligned([["contestant", "records/s", "of ideal cores", "ours ×"], *lines])


def draw(found: dict[str, Any], file: Path) -> None:
    """One bar a contestant."""
    rows = []
    for row in found["contestants"]:
        rate = row["rate"]["median"]
        rows.append(Bar(row["label"], row["ours"], rate, rate, f"{rate:,.0f}"))
    bars(found, rows, "records/s", file, logarithmic=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    records, rounds = QUICK_RECORDS if question.quick else RECORDS, rounds_in(WORK_SECONDS)
    here = [key for key in LABELS if is_here(key)]
    turns: dict[str, list[float]] = {key: [] for key in here}
    for key in question.turns(here):
        turns[key].append(measured(key, records, rounds))
    rows = [
        {"key": key, "label": LABELS[key], "ours": key == "ours", "rate": asdict(Spread.of(turns[key]))} for key in here
    ]
    question.answer(TITLE, table(rows) + left_out(LABELS), {"records": records, "contestants": rows}, draw)


if __name__ == "__main__":
    main()
