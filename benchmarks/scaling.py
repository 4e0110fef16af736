"""Does the cost stay flat with more records, and what do more workers than cores cost?

    python -m benchmarks.scaling [--quick] [--repeats N] [--json FILE] [--plot FILE]

Three tables: nanoseconds a record by size of the feed; records per second by number of workers, ours and a pool's;
and the parent's CPU time for a batch, from which follows how many workers it can feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import GRID, OURS, OURS_PALE, THEIRS, THEIRS_PALE, machine_of, plain
from benchmarks.asking.plot import INK, canvas, save_small
from benchmarks.asking.question import asked
from benchmarks.scales import parent as scaling_parent
from benchmarks.scales import size as scaling_size
from benchmarks.scales import workers as scaling_workers

QUESTION = "scaling"
TITLE = "The cost of more records, and of more workers"
REPEATS = 5
COLOURS = {("ours", "trivial"): OURS, ("pool", "trivial"): THEIRS}
COLOURS |= {("ours", "computing"): OURS_PALE, ("pool", "computing"): THEIRS_PALE}


def draw(found: dict[str, Any], file: Path) -> None:
    """Cost by records on the left, rates by workers on the right."""
    pyplot = canvas()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
    for row, style in zip(found["sizes"], ("-", "--", ":"), strict=True):
        sizes = [size["records"] for size in row["sizes"]]
        left.plot(sizes, [s["ns"]["median"] for s in row["sizes"]], style, marker="o", color=OURS, label=row["label"])
    left.set_xscale("log")
    left.set_ylim(bottom=0)
    left.set_title("ns a record, by records fed", loc="left", color=INK, fontsize=10)
    for row in found["by_workers"]:
        right.plot(
            [str(cell["workers"]) for cell in row["workers"]],
            [100 * cell["of_best"] for cell in row["workers"]],
            marker="o",
            color=COLOURS[row["key"], row["work"]],
            label=f"{'ours' if row['key'] == 'ours' else 'pool'}, {row['work_label']}",
        )
    right.set_ylim(0, 105)
    right.set_title("% of its own best rate, by workers", loc="left", color=INK, fontsize=10)
    for axes in (left, right):
        plain(axes)
        axes.yaxis.grid(True, color=GRID, linewidth=0.8)
        axes.legend(frameon=False, fontsize=8, loc="best")
    figure.supxlabel(machine_of(found), color=INK, fontsize=8)
    save_small(figure, file)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    sizes = scaling_size.measured(question)
    by_workers = scaling_workers.measured(question)
    parent = scaling_parent.measured(question)
    parts = (scaling_size.text(sizes), scaling_workers.text(by_workers), scaling_parent.text(parent))
    question.answer(TITLE, "\n\n".join(parts), {"sizes": sizes, "by_workers": by_workers, "parent": parent}, draw)


if __name__ == "__main__":
    main()
