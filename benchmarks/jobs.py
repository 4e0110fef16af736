"""What does it cost to survive: a checkpoint, passing over what is done, and dead letters?

    python -m benchmarks.jobs [--quick] [--repeats N] [--json FILE] [--plot FILE]

JSON lines go from a file to a file with a checkpoint and without, in turns. Feeds that cannot go back are pulled again,
with but one record left to do. And records that all fail go to a file of dead letters, and are replayed from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.cell import cell
from benchmarks.asking.question import Spread, asked
from benchmarks.asking.table import aligned

QUESTION = "jobs"
TITLE = "Records per second of a job"
REPEATS = 5
RECORDS = {"plain": 1_000_000, "kept": 1_000_000, "buried": 50_000, "replayed": 50_000}
MANY = 5_000_000
"""Records that are passed over."""
LABELS = {
    "plain": "JSON lines, file to file",
    "kept": "the same with a checkpoint, every=1.0",
    "generator": "passing over: a generator",
    "async": "passing over: an async generator",
    "list": "passing over: a list",
    "buried": "all fail, to DeadLetters",
    "replayed": "and are replayed",
}
PROMISED = {"generator": "2,000,000", "async": "2,000,000", "list": "2,000,000", "buried": "5,000"}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people; the job's rate as a share of the one without a checkpoint."""
    plain = rows[0]["rate"]["median"]
    body = [
        [
            row["label"],
            Spread(**row["rate"]).words(1, 0),
            f"{row['rate']['median'] / plain:.3f} of it" if row["key"] == "kept" else PROMISED.get(row["key"], ""),
        ]
        for row in rows
    ]
    return aligned([["", "records/s", "promised"], *body])


def draw(found: dict[str, Any], file: Path) -> None:
    """A bar a row."""
    rows = [
        Bar(
            row["label"],
            row["key"] != "plain",
            row["rate"]["low"],
            row["rate"]["high"],
            f"{row['rate']['median']:,.0f}",
        )
        for row in found["ways"]
    ]
    bars(found, rows, "records/s", file, logarithmic=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    records = {way: 2_000 if question.quick else RECORDS.get(way, MANY) for way in LABELS}
    taken: dict[str, list[float]] = {way: [] for way in LABELS}
    for way in question.turns(list(LABELS)):
        taken[way].append(records[way] / cell("benchmarks.cells.jobs", way, records[way])["seconds"])
    rows = [{"key": way, "label": LABELS[way], "rate": asdict(Spread.of(rates))} for way, rates in taken.items()]
    question.answer(TITLE, table(rows), {"records": records, "ways": rows}, draw)


if __name__ == "__main__":
    main()
