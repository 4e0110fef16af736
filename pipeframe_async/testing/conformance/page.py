"""Finds and replaces the table of guarantees on a Markdown page. Reads and writes text only."""

from __future__ import annotations

from typing import Final

BEGIN: Final = "<!-- conformance: begin -->"
END: Final = "<!-- conformance: end -->"


def table_of(page: str) -> dict[str, dict[str, str]]:
    """What the page says: by the head of the column and the case, the text of the cell."""
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in _parts(page)[1].splitlines()]
    return {name: {row[0]: row[column] for row in rows} for column, name in enumerate(head) if column}


def rewritten(page: str, table: str) -> str:
    """The page with another table."""
    before, _, after = _parts(page)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _parts(page: str) -> tuple[str, str, str]:
    before, begin, rest = page.partition(BEGIN)
    table, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs a line {BEGIN!r} and a line {END!r}")
    return before, table.strip(), after
