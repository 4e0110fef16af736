"""The torture table as a picture: contestants by faults, coloured by what was lost, or by what was left running."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from math import sqrt
from pathlib import Path
from typing import Any

from benchmarks.asking.plot import canvas

FINE, BAD, INK, PALE = "#0b7285", "#c92a2a", "#343a40", "#ffffff"
SHADES = ("#ffe3e3", "#ffc9c9", "#ff8787", "#fa5252", "#e03131", BAD)
"""From one record lost to all of them."""


def draw(found: dict[str, Any], file: Path) -> None:
    """Draw the answer of the torture table.

    Args:
        found: what `torture.answer` returns.
        file: where the PNG goes.

    Raises:
        SystemExit: matplotlib is missing; it says how to get it.
    """
    pyplot = canvas()
    rows, columns = found["contestants"], found["faults"]
    figure, axes = pyplot.subplots(figsize=(9.6, 0.37 * len(rows) + 1.8), layout="constrained")
    _fill(axes, found, pyplot.Rectangle)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [_two_lines(column["label"]) for column in columns])
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [f"{row['label']}  ({row['batches']})" for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row["ours"] else "normal")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.set_title("One bad record: good records lost, and what is left behind", loc="left", color=INK, fontsize=11)
    axes.set_xlabel(_legend(found), color=INK, fontsize=8)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=100)
    pyplot.close(figure)
    # matplotlib comes with Pillow; few colours are enough, and a third of the bytes
    import_module("PIL.Image").open(drawn).convert("RGB").quantize(48).save(file, optimize=True)


def _fill(axes: Any, found: dict[str, Any], rectangle: Any) -> None:
    """One rectangle a cell, with a border where the script hung."""
    cells = {(cell["contestant"], cell["fault"]): cell for cell in found["cells"]}
    for y, row in enumerate(found["contestants"]):
        for x, column in enumerate(found["faults"]):
            cell = cells[row["key"], column["key"]]
            shade, words = _look(cell, column["signal"])
            border = 2 if cell["hung"] else 0
            axes.add_patch(rectangle((x + 0.02, y + 0.05), 0.96, 0.9, facecolor=shade, edgecolor=INK, linewidth=border))
            ink = PALE if shade in (FINE, *SHADES[3:]) else INK
            axes.text(x + 0.5, y + 0.5, words, ha="center", va="center", fontsize=8, color=ink)


def _two_lines(label: str) -> str:
    return label.replace(" ", "\n", 1)


def _legend(found: dict[str, Any]) -> str:
    machine = found["machine"]
    return (
        f"{found['records']} records, one bad; batches of {found['batch_size']}, cut by whom is in brackets; "
        f"{found['workers']} workers, {machine['python']}, {machine['platform']}\n"
        f"hung: the script had not ended after {found['limit']:g} s · left: processes alive 1 s after its end\n"
        "unsaid: all good ones came out, and of the bad one nothing was said"
    )


def _look(cell: dict[str, Any], signalled: bool) -> tuple[str, str]:
    """Colour and words of one cell."""
    lost, left = cell["expected"] - cell["delivered"], cell["orphans"] or 0
    marks = [*(["hung"] if cell["hung"] else []), *([f"{left} left"] if left else [])]
    if signalled and not cell["signalled"]:
        return PALE, "ended before"
    if signalled:
        return (BAD if marks else FINE), " · ".join(marks) or "none left"
    marks += ["unsaid"] if not cell["saw"] and not cell["hung"] else []
    if not lost:
        return (SHADES[1] if marks else FINE), " · ".join(marks) or "none lost"
    words = " · ".join([f"{lost} lost", *marks])
    return SHADES[round((len(SHADES) - 1) * sqrt(lost / cell["expected"]))], words
