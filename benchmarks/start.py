"""What does it cost to start and to stop, when there is next to nothing to do?

    python -m benchmarks.start [--quick] [--repeats N] [--json FILE] [--plot FILE]

Ten trivial records through two workers, in a fresh interpreter: the first time, a second time, and through workers
that are there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.cell import cell
from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Spread, asked, left_out
from benchmarks.asking.table import aligned
from benchmarks.contestants.line_up import is_here
from benchmarks.works.trivial import expected

QUESTION = "start"
TITLE = "Milliseconds to start, take ten records through two workers, and stop"
REPEATS = 9
RECORDS = 10
WARM_TIMES, QUICK_WARM_TIMES = 50, 3
"""Calls within a warm pool in each process; their median counts."""
LABELS = {
    "ours": "ours",
    "executor_fork": "ProcessPoolExecutor, fork",
    "executor_forkserver": "ProcessPoolExecutor, forkserver",
    "executor_spawn": "ProcessPoolExecutor, spawn",
    "mpire": "mpire, fork",
    "loky": "loky",
    "joblib": "joblib",
}
COLUMNS = {"imports": "imports ms", "cold": "first time ms", "again": "second time ms", "warm": "warm ms"}


def measured(key: str, times: int) -> dict[str, float]:
    """One turn, in seconds.

    Raises:
        WrongWork: a record was lost, doubled or changed.
    """
    found = cell("benchmarks.cells.start", key, RECORDS, times)
    if found["checksums"] != [expected(RECORDS).checksum] * 2:
        raise WrongWork(f"{LABELS[key]}: {found['checksums']}, expected {expected(RECORDS)}")
    return {**{name: found[name] for name in COLUMNS}, "warm": median(found["warm"])}


def figures(key: str, turns: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What is known of a contestant, in seconds."""
    spreads = {name: asdict(Spread.of(turn[name] for turn in turns)) for name in COLUMNS}
    return {"key": key, "label": LABELS[key], "ours": key == "ours", **spreads}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    lines = [
        [
            row["label"],
            *(Spread(**row[name]).words(1e3, 1) for name in COLUMNS),
            str(row["cold"]["n"]),
        ]
        for row in rows
    ]
    return aligned([["contestant", *COLUMNS.values(), "turns"], *lines])


def draw(found: dict[str, Any], file: Path) -> None:
    """Warm in front of cold."""
    rows = []
    for row in found["contestants"]:
        cold, again, warm = (1e3 * row[name]["median"] for name in ("cold", "again", "warm"))
        rows.append(Bar(row["label"], row["ours"], warm, cold, f"{warm:.1f} / {again:.0f} / {cold:.0f}"))
    bars(
        found, rows, "ms; dark: workers are there; pale: the first time. Figures: warm / second time / first time", file
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    times = QUICK_WARM_TIMES if question.quick else WARM_TIMES
    here = [key for key in LABELS if is_here(key)]
    turns: dict[str, list[dict[str, float]]] = {key: [] for key in here}
    for key in question.turns(here):
        turns[key].append(measured(key, times))
    found = [figures(key, turns[key]) for key in here]
    question.answer(TITLE, table(found) + left_out(LABELS), {"records": RECORDS, "contestants": found}, draw)


if __name__ == "__main__":
    main()
