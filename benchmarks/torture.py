"""What does one bad record cost, and what is left behind when the script is ended?

    python -m benchmarks.torture [--quick] [--only KEY …] [--faults KEY …] [--json FILE] [--plot FILE]

Each contestant meets each fault in a process of its own, which is given up on after a time. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.asking.measure import Machine
from benchmarks.asking.table import aligned
from benchmarks.torturing.cage import Cell, Plan, cell
from benchmarks.torturing.contestants import CONTESTANTS, Contestant
from benchmarks.torturing.faults import FAULTS, Fault
from benchmarks.torturing.job import TIME_LIMIT, WORKERS

QUESTION = "torture"
FULL = Plan(records=1_000, batch_size=64, limit=20.0)
QUICK = Plan(records=160, batch_size=16, limit=18.0)
"""As patient as `FULL`: so many side by side, on a machine that does other things too, are slow and not hung."""
QUICK_SIDE_BY_SIDE = 12
"""Cells at a time where only the shape of the answer counts. They wait more than they work."""

Question = tuple[Contestant, Fault]


def present(contestants: Sequence[Contestant], say: Callable[[str], None]) -> list[Contestant]:
    """Those that are installed."""
    for contestant in contestants:
        if not contestant.is_there:
            say(f"{contestant.label}: not here, pip install {contestant.package}")
    return [contestant for contestant in contestants if contestant.is_there]


def ask(questions: Sequence[Question], plan: Plan, side_by_side: int, say: Callable[[str], None]) -> Iterator[Cell]:
    """Run all cells, `side_by_side` at a time.

    Args:
        questions: whom to do what.
        plan: how much, how long.
        side_by_side: more than one makes haste and no figures: they take each other's time.
        say: is told what became of each.

    Yields:
        A cell each, in the order given.
    """
    with ThreadPoolExecutor(side_by_side) as threads:
        for (contestant, fault), found in zip(questions, threads.map(lambda q: _run(q, plan), questions), strict=True):
            became = f"{words(found, fault)}; saw {found.saw or 'nothing'}"
            say(f"{contestant.label}, {fault.key}: {became} ({found.seconds:g} s)")
            yield found


def _run(question: Question, plan: Plan) -> Cell:
    return cell(question[0].key, question[1], plan)


def words(found: Cell, fault: Fault) -> str:
    """One cell for people."""
    if fault.signal is not None and not found.signalled:
        return "ended before"
    marks = ["hung"] if found.hung else []
    marks += [f"{found.orphans} left"] if found.orphans else []
    if fault.signal is None:
        marks.insert(0, f"{found.delivered:,}")
        marks += [f"{found.repeated:,} twice"] if found.repeated else []
        marks += ["unsaid"] if not found.saw and not found.hung else []
    return ", ".join(marks) or "none left"


def table(contestants: Sequence[Contestant], faults: Sequence[Fault], cells: Sequence[Cell]) -> str:
    """The answer for people."""
    by_place = {(c.contestant, c.fault): c for c in cells}
    rows = [["contestant", "batches", *(fault.label for fault in faults)]]
    for contestant in contestants:
        found = [words(by_place[contestant.key, fault.key], fault) for fault in faults]
        rows.append([contestant.label, contestant.batches, *found])
    return aligned(rows)


def answer(
    contestants: Sequence[Contestant], faults: Sequence[Fault], cells: Sequence[Cell], machine: Machine, plan: Plan
) -> dict[str, Any]:
    """The answer for programs; README.md says what is in it."""
    return {
        "question": QUESTION,
        "quick": plan == QUICK,
        "machine": machine.as_json(),
        "workers": WORKERS,
        "records": plan.records,
        "batch_size": plan.batch_size,
        "limit": plan.limit,
        "time_limit": TIME_LIMIT,
        "contestants": [
            {"key": c.key, "label": c.label, "batches": c.batches, "ours": c.ours, "version": c.version}
            for c in contestants
        ],
        "faults": [{"key": f.key, "label": f.label, "signal": f.signal is not None} for f in faults],
        "cells": [found.as_json() for found in cells],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Torture, print the table, and write what was asked for."""
    options = _options(argv)
    machine = Machine.here()
    say: Callable[[str], None] = _silent if options.quick else _aside
    plan, side_by_side = (QUICK, QUICK_SIDE_BY_SIDE) if options.quick else (FULL, 1)
    contestants = present([CONTESTANTS[key] for key in options.only], say)
    faults = [FAULTS[key] for key in options.faults]
    cells = list(ask([(c, f) for c in contestants for f in faults], plan, side_by_side, say))
    print(f"{machine}; {WORKERS} workers; of {plan.records - 1:,} good records beside a bad one, delivered:\n")
    print(table(contestants, faults, cells))
    found = answer(contestants, faults, cells, machine, plan)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.plot:
        from benchmarks.torturing.plot import draw  # the one part that needs matplotlib

        draw(found, options.plot)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer records, several cells at a time: does it run?")
    parser.add_argument("--only", nargs="+", metavar="KEY", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--faults", nargs="+", metavar="KEY", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    options = parser.parse_args(argv)
    if not Path("/proc/self/environ").exists():
        parser.error("needs Linux: what is left behind is found in /proc")
    return options


def _aside(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    main()
