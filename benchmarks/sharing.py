"""How much memory does a table take that all workers read?

    python -m benchmarks.sharing [--quick] [--repeats N] [--json FILE] [--plot FILE]

An array of 1 GiB in the program, of which two workers read all: as a handle of `share`, as a plain attribute of the
pipeline, and as an argument of joblib. Told is what comes on top of the table itself.
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

QUESTION = "sharing"
TITLE = "Memory that a table of 1 GiB takes on top of itself when two workers read it, in MiB"
REPEATS = 3
TABLE, QUICK_TABLE = 2**30, 16 * 2**20
LABELS = {
    "shared": "ours, share(table)",
    "attribute": "ours, an attribute of the pipeline",
    "joblib": "joblib, an argument",
}
COLUMNS = {"parent": "parent MiB", "peak": "parent's peak MiB", "worker": "a worker MiB", "machine": "machine MiB"}
MIB = 2**20


def measured(key: str, nbytes: int) -> dict[str, float]:
    """One turn: bytes that the parent, a worker and the machine have taken, and seconds until all was read.

    Raises:
        WrongWork: a worker has read something else.
    """
    found: dict[str, float] = cell("benchmarks.cells.sharing", key, nbytes)
    if not found["same"] or found["table"] != nbytes:
        raise WrongWork(f"{LABELS[key]}: {found}")
    return found


def figures(key: str, turns: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What is known of a contestant, in bytes and seconds."""
    spreads = {name: asdict(Spread.of(turn[name] for turn in turns)) for name in (*COLUMNS, "seconds")}
    return {"key": key, "label": LABELS[key], "ours": key == "shared", **spreads}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    lines = [
        [
            row["label"],
            *(Spread(**row[name]).words(1 / MIB, 0) for name in COLUMNS),
            Spread(**row["seconds"]).words(1, 2),
            str(row["seconds"]["n"]),
        ]
        for row in rows
    ]
    return aligned([["contestant", *COLUMNS.values(), "seconds", "turns"], *lines])


def draw(found: dict[str, Any], file: Path) -> None:
    """One bar a contestant: a worker in front of the machine."""
    rows = []
    for row in found["contestants"]:
        worker, machine = (max(0.0, row[name]["median"] / MIB) for name in ("worker", "machine"))
        rows.append(Bar(row["label"], row["ours"], worker, machine, f"{worker:,.0f} / {machine:,.0f}"))
    bars(found, rows, "MiB; dark: of each worker alone; pale: of the whole machine", file, logarithmic=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit("needs Linux: memory is read in /proc")
    nbytes = QUICK_TABLE if question.quick else TABLE
    here = [key for key in LABELS if is_here(key)]
    turns: dict[str, list[dict[str, float]]] = {key: [] for key in here}
    for key in question.turns(here):
        turns[key].append(measured(key, nbytes))
    found = [figures(key, turns[key]) for key in here]
    question.answer(TITLE, table(found) + left_out(LABELS), {"table": nbytes, "contestants": found}, draw)


if __name__ == "__main__":
    main()
