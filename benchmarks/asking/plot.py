"""A picture of rates: one bar a contestant, ours in colour, pale where results come back, the spread as a whisker."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

OURS = {"counts": "#0b7285", "results": "#3bc9db"}
THEIRS = {"counts": "#adb5bd", "results": "#dee2e6"}
INK = "#343a40"
LOGARITHMIC_FROM = 20
"""So many times faster the fastest must be than the slowest, or a linear scale tells more."""


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


def save_small(figure: Any, file: Path) -> None:
    """Write a PNG of few colours: a third of the bytes, and no difference to see in a plot."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110)
    # matplotlib comes with Pillow
    import_module("PIL.Image").open(drawn).convert("RGB").quantize(48).save(file, optimize=True)


def draw(found: dict[str, Any], file: Path) -> None:
    """Draw the answer of a benchmark.

    Args:
        found: what `rates.answer` returns.
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
    figure, axes = pyplot.subplots(figsize=(9.6, 0.3 * len(rows) + 1.1), layout="constrained")
    axes.barh(
        [row["label"] for row in rows],
        rates,
        xerr=whiskers,
        color=[(OURS if row["ours"] else THEIRS)[row["form"]] for row in rows],
        error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
        height=0.68,
    )
    if max(rates) > LOGARITHMIC_FROM * min(rates):
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / 4, max(rates) * 8)
    else:
        axes.set_xlim(0, max(row["rate_max"] for row in rows) * 1.3)
    behind = axes.get_xlim()[1] / 100
    for at, row in enumerate(rows):
        place = row["rate_max"] * 1.15 if axes.get_xscale() == "log" else row["rate_max"] + behind
        axes.text(place, at, _words(row["rate"]) + _multiple(found, row), va="center", color=INK, fontsize=9)
    axes.set_title(found["title"], loc="left", color=INK, fontsize=11)
    machine = found["machine"]
    axes.set_xlabel(
        f"{found['workers']} workers on {machine['usable_cpus']} CPUs, {machine['python']}, {machine['platform']}; "
        f"medians of {found['repeats']}, start and end included\n"
        "dark: counts come back; pale: all results do, and are looked at",
        color=INK,
        fontsize=8,
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
    axes.tick_params(axis="x", labelsize=8, labelcolor=INK)
    axes.xaxis.grid(True, color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    save_small(figure, file)
    pyplot.close(figure)


def _multiple(found: dict[str, Any], row: dict[str, Any]) -> str:
    """How many times faster ours is in the same form, where that is much."""
    form = row["form"] if row["kind"] in ("pool", "peer") else "counts"
    mine = [other["key"] for other in found["contestants"] if other["ours"] and other["form"] == form]
    multiple = found["ratios"][mine[0]][row["key"]] if mine else 0.0
    return f"   (ours: {multiple:.0f} times that)" if multiple > 2 and not row["ours"] else ""


def _words(rate: float) -> str:
    return f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k" if rate >= 1e3 else f"{rate:.0f}"
