"""A table reads in a terminal, too."""

from __future__ import annotations

from benchmarks.asking.table import aligned


def test_a_table_is_as_wide_as_its_widest_cells() -> None:
    table = aligned([["name", "n"], ["a long one", "1"], ["b", "1,000"]])
    assert table.splitlines() == [
        "| name       |     n |",
        "| :--------- | ----: |",
        "| a long one |     1 |",
        "| b          | 1,000 |",
    ]
