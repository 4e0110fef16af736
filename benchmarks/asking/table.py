"""Rows of text to a table that reads in a terminal and, as Markdown, on a page."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first row is the head, the first column goes left, the others right."""
    widths = [max(2, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = [(":" if at == 0 else "") + "-" * (width - 1) + (":" if at else "") for at, width in enumerate(widths)]
    return "\n".join(_line(row, widths) for row in [rows[0], rule, *rows[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    return " | ".join(["| " + first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"
