"""A picture of rates: one bar a contestant on a logarithmic scale, ours in colour, the spread as a whisker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, THEIRS, INK = "#0b7285", "#adb5bd", "#343a40"


def canvas() -> Any:
    """matplotlib's pyplot, drawing to files.

    Raises:
        SystemExit: matplotlib is missing; it says how to get it.
    """
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("a picture needs matplotlib: pip install 'pipeframe_async[bench]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(found: dict[str, Any], file: Path) -> None:
    """Draw the answer of a benchmark.

    Args:
        found: what `overhead.answer` returns.
        file: where the PNG goes.

    Raises:
        SystemExit: matplotlib is missing; it says how to get it.
    """
    pyplot = canvas()
    rows = sorted(found["contestants"], key=lambda row: row["rate"])
    rates = [row["rate"] for row in rows]
    whiskers = [
        [row["rate"] - row["rate_min"] for row in rows],
        [row["rate_max"] - row["rate"] for row in rows],
    ]
    figure, axes = pyplot.subplots(figsize=(8.4, 0.36 * len(rows) + 1.1), layout="constrained")
    axes.barh(
        [row["label"] for row in rows],
        rates,
        xerr=whiskers,
        color=[OURS if row["ours"] else THEIRS for row in rows],
        error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
        height=0.68,
    )
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 4, max(rates) * 8)
    multiples = found["ratios"]["ours"]
    for at, row in enumerate(rows):
        multiple = multiples[row["key"]]
        behind = f"   (ours: {multiple:.0f} times that)" if multiple > 2 and not row["ours"] else ""
        words = _words(row["rate"]) + behind
        axes.text(row["rate_max"] * 1.15, at, words, va="center", color=INK, fontsize=9)
    axes.set_title("Records per second through three trivial steps", loc="left", color=INK, fontsize=11)
    machine = found["machine"]
    axes.set_xlabel(
        f"{found['workers']} workers on {machine['usable_cpus']} CPUs, {machine['python']}, {machine['platform']}; "
        f"medians of {found['repeats']}, start and end included",
        color=INK,
        fontsize=8,
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
    axes.tick_params(axis="x", labelsize=8, labelcolor=INK)
    axes.xaxis.grid(True, color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _words(rate: float) -> str:
    return f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k" if rate >= 1e3 else f"{rate:.0f}"
