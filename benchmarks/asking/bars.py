"""Pictures for questions that are not about rates alone: bars, one a contestant, with what belongs on every picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.asking.plot import INK, canvas, save_small

OURS, OURS_PALE = "#0b7285", "#99e9f2"
THEIRS, THEIRS_PALE = "#868e96", "#dee2e6"
GRID = "#e9ecef"


class Bar(NamedTuple):
    """One contestant: a short bar in front of a longer pale one (p50 before p99), and words behind them."""

    label: str
    ours: bool
    value: float
    further: float
    words: str


def bars(found: dict[str, Any], rows: Sequence[Bar], unit: str, file: Path, *, logarithmic: bool = True) -> None:
    """Draw one bar a contestant, the first one on top.

    Args:
        found: the answer, for the title and the machine.
        rows: what to draw.
        unit: what the axis shows.
        file: where the PNG goes.
        logarithmic: whether the axis is.

    Raises:
        SystemExit: matplotlib is missing; it says how to get it.
    """
    pyplot = canvas()
    figure, axes = pyplot.subplots(figsize=(9.6, 0.3 * len(rows) + 1.1), layout="constrained")
    rows = rows[::-1]
    labels = [row.label for row in rows]
    axes.barh(labels, [r.further for r in rows], color=[OURS_PALE if r.ours else THEIRS_PALE for r in rows], height=0.7)
    axes.barh(labels, [r.value for r in rows], color=[OURS if r.ours else THEIRS for r in rows], height=0.7)
    longest = max(max(r.further, r.value) for r in rows)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(r.value for r in rows if r.value > 0) / 2, longest * 6)
    else:
        axes.set_xlim(0, longest * 1.25)
    for at, row in enumerate(rows):
        end = max(row.further, row.value)
        place = end * 1.1 if logarithmic else end + longest / 80
        axes.text(place, at, row.words, va="center", color=INK, fontsize=9)
    axes.set_title(found["title"], loc="left", color=INK, fontsize=11)
    axes.set_xlabel(f"{unit}\n{machine_of(found)}", color=INK, fontsize=8)
    plain(axes)
    axes.spines["left"].set_visible(False)
    axes.xaxis.grid(True, color=GRID, linewidth=0.8)
    axes.tick_params(axis="y", length=0, labelsize=9)
    save_small(figure, file)
    pyplot.close(figure)


def machine_of(found: dict[str, Any]) -> str:
    """What a picture says about where it comes from."""
    machine = found["machine"]
    return (
        f"{machine['usable_cpus']} CPUs, {machine['python']}, {machine['platform']}; "
        f"{found['workers']} workers, medians of {found['repeats']}"
    )


def plain(axes: Any) -> None:
    """No frame, small figures, the grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, labelcolor=INK)
    axes.set_axisbelow(True)
