"""Facts as people read them: a label and what it is, a line each."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeframe_async.cli.exits import printable


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print labels and values to standard output; long values are folded below each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(f"  {label}", Text(printable(value)))
    Console(highlight=False).print(table)
