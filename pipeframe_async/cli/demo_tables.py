"""What the demo has found, as tables for a person or a line of JSON for a program."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

import click
from rich import box
from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeframe_async.cli.demo_pipeline import STDLIB, StdlibMetrics
from pipeframe_async.cli.exits import printable

MOST_FAILURES: Final = 6
"""Failures that are listed; the others are counted."""

ON_PURPOSE: Final = " [dim](the standard library has files that are broken on purpose, to test with)[/dim]"

ROOM_FOR_BARS: Final = 100
"""Columns of a terminal from which on bars leave enough for names."""


def show(metrics: StdlibMetrics, *, as_json: bool) -> None:
    """Print what has been found to standard output.

    Args:
        metrics: the pipeline after its run.
        as_json: only where the results are, as one line.
    """
    if as_json:
        click.echo(json.dumps({"event": "results", "output": str(metrics.output), "files": metrics.ranking.files}))
        return
    console, ranking = Console(highlight=False), metrics.ranking
    totals = f"{ranking.files:,} files · {ranking.lines:,} lines · {ranking.functions:,} functions"
    root = printable(str(metrics.root))
    console.print(Text.assemble("\n", (totals, "bold"), (" below ", "dim"), root, "\n"), soft_wrap=True)
    if ranking.files:
        with_bars = console.width >= ROOM_FOR_BARS
        console.print(_table("The most complex functions", ("function", "at"), _functions(metrics), with_bars))
        console.print(_table("The most complex files", ("file", "functions"), _files(metrics), with_bars))
    _print_failures(console, metrics)
    console.print(Text.assemble("All results: ", (printable(str(metrics.output)), "cyan"), "\n"), soft_wrap=True)


class Row(NamedTuple):
    """One place of a ranking; `more` is what the second column says of it."""

    what: str
    more: str
    lines: int
    complexity: int


def _functions(metrics: StdlibMetrics) -> list[Row]:
    return [
        Row(function.name, f"{metrics.name_of(path)}:{function.line}", function.lines, function.complexity)
        for function, path in metrics.ranking.hardest_functions
    ]


def _files(metrics: StdlibMetrics) -> list[Row]:
    return [
        Row(metrics.name_of(file.path), f"{file.functions:,}", file.lines, file.complexity)
        for file in metrics.ranking.hardest_files
    ]


def _table(title: str, names: tuple[str, str], rows: list[Row], with_bars: bool) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, expand=True
    )
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column(names[0], style="cyan", no_wrap=True, ratio=3)
    table.add_column(names[1], no_wrap=True, ratio=3)
    for name in ("lines", "complexity"):
        table.add_column(name, justify="right", no_wrap=True)
    if with_bars:
        table.add_column("", ratio=2)
    for place, row in enumerate(rows, 1):
        cells: list[str | Text | Bar] = [str(place), _text(row.what), _text(row.more)]
        cells += [f"{row.lines:,}", f"{row.complexity:,}"]
        if with_bars:
            cells.append(Bar(size=rows[0].complexity or 1, begin=0, end=row.complexity, color="cyan"))
        table.add_row(*cells)
    return table


def _print_failures(console: Console, metrics: StdlibMetrics) -> None:
    if not (failures := metrics.failures):
        return
    console.print(f"[bold]{len(failures):,} could not be measured[/bold]{ON_PURPOSE * (metrics.root == STDLIB)}")
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="red", no_wrap=True)
    table.add_column(no_wrap=True, ratio=2)
    table.add_column(style="dim", no_wrap=True, ratio=3)
    for failure in failures[:MOST_FAILURES]:
        why = f"{failure.error_type}: {failure.message}".splitlines()[0]
        table.add_row(f"  {failure.step}", _text(metrics.name_of(failure.record)), _text(why))
    console.print(table)
    if (more := len(failures) - MOST_FAILURES) > 0:
        console.print(f"  [dim]and {more:,} more[/dim]")
    console.print()


def _text(value: object) -> Text:
    return Text(printable(str(value)))
