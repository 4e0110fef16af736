"""How much memory does the parent take for a feed that does not fit into it?

    python -m benchmarks.memory [--quick] [--repeats N] [--json FILE] [--plot FILE]

Five million trivial records through two workers, each contestant in a process of its own: the most memory that was
resident in the parent, less what was resident after its imports.
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
from benchmarks.contestants.line_up import is_here
from benchmarks.works.trivial import expected

QUESTION = "memory"
TITLE = "Memory that the parent takes for 5,000,000 records, in MiB"
REPEATS = 3
RECORDS, QUICK_RECORDS = 5_000_000, 20_000
LABELS = {
    "ours": "ours",
    "ours_async_feed": "ours, async feed",
    "ours_results": "ours, with results",
    "executor_map": "ProcessPoolExecutor.map(chunksize)",
    "executor": "ProcessPoolExecutor.submit, chunked, a window",
    "pool": "Pool.imap_unordered(chunksize)",
    "loky": "loky.map(chunksize)",
}
MIB = 2**20


def measured(key: str, records: int) -> dict[str, int]:
    """One turn: bytes after the imports and at most.

    Raises:
        WrongWork: a record was lost, doubled or changed.
    """
    found: dict[str, int] = cell("benchmarks.cells.memory", key, records)
    if (found["records"], found["checksum"]) != (expected(records).records, expected(records).checksum):
        raise WrongWork(f"{LABELS[key]}: {found}, expected {expected(records)}")
    return found


def figures(key: str, turns: Sequence[dict[str, int]]) -> dict[str, Any]:
    """What is known of a contestant, in bytes."""
    grown = [turn["peak"] - turn["imported"] for turn in turns]
    return {
        "key": key,
        "label": LABELS[key],
        "ours": key.startswith("ours"),
        "records": turns[0]["records"],
        "imported": asdict(Spread.of(turn["imported"] for turn in turns)),
        "peak": asdict(Spread.of(turn["peak"] for turn in turns)),
        "grown": asdict(Spread.of(grown)),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    head = ["contestant", "records", "after imports MiB", "peak MiB", "grown MiB", "turns"]
    lines = [
        [
            row["label"],
            f"{row['records']:,}",
            *(Spread(**row[name]).words(1 / MIB, 1) for name in ("imported", "peak", "grown")),
            str(row["grown"]["n"]),
        ]
        for row in rows
    ]
    return aligned([head, *lines])


def draw(found: dict[str, Any], file: Path) -> None:
    """One bar a contestant."""
    rows = [
        Bar(row["label"], row["ours"], grown := row["grown"]["median"] / MIB, grown, f"{grown:,.0f}")
        for row in found["contestants"]
    ]
    bars(found, rows, "MiB of the parent, without its imports", file, logarithmic=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    if not Path("/proc/self/status").exists():
        raise SystemExit("needs Linux: memory is read in /proc")
    records = QUICK_RECORDS if question.quick else RECORDS
    here = [key for key in LABELS if is_here(key)]
    turns: dict[str, list[dict[str, int]]] = {key: [] for key in here}
    for key in question.turns(here):
        turns[key].append(measured(key, records))
    found = [figures(key, turns[key]) for key in here]
    question.answer(TITLE, table(found) + left_out(LABELS), {"contestants": found}, draw)


if __name__ == "__main__":
    main()
