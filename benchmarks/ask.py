"""How a question about throughput is asked: its options, the measuring, and what is printed, written and drawn."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import line_up, rates
from benchmarks.measure import Contestant, Machine, interleaved
from benchmarks.peers import WORKERS

REPEATS = 5


def ask(
    question: str,
    about: str | None,
    contestants: Callable[[bool], tuple[str, list[Contestant]]],
    argv: Sequence[str] | None,
) -> None:
    """Measure, print the table and the ratios that matter, and write what was asked for.

    Args:
        question: its name, that of its module.
        about: its docstring, for `--help`.
        contestants: told whether it shall be quick, a title for the picture and who takes part.
        argv: the options; None takes those of the command line.
    """
    parser = _parser(question, about)
    options = parser.parse_args(argv)
    machine = Machine.here()
    say: Callable[[str], None] = _silent if options.quick else partial(print, file=sys.stderr, flush=True)
    if machine.busy:
        say(f"{machine.cores_busy_before:g} cores are busy already: come back when the machine is quiet")
    title, everybody = contestants(options.quick)
    chosen = _chosen(parser, everybody, options.only)
    repeats = options.repeats or (1 if options.quick else REPEATS)
    if options.quick:
        timings = interleaved(line_up.quick(chosen), repeats, say, sweeps=1)
    else:
        timings = interleaved(chosen, repeats, say)
    print(f"{machine}; {WORKERS} workers, medians of {repeats}{rates.cost_of_work(timings)}\n\n{rates.table(timings)}")
    print(f"\n{rates.list_of(rates.that_matter(timings))}")
    for peer in line_up.missing():
        print(f"\nleft out, since it is not here: {peer.label} (pip install {peer.package})")
    found = rates.answer(question, title, timings, machine, repeats, quick=options.quick)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.plot:
        from benchmarks.plot import draw  # the one part that needs matplotlib

        draw(found, options.plot)


def _chosen(parser: argparse.ArgumentParser, everybody: list[Contestant], only: list[str]) -> list[Contestant]:
    keys = {contestant.key for contestant in everybody}
    if unknown := [key for key in only if key not in keys]:
        parser.error(f"--only {' '.join(unknown)}: there are {', '.join(sorted(keys))}")
    return [contestant for contestant in everybody if not only or contestant.key in only]


def _parser(question: str, about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{question}", description=(about or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few records, once: does it run?")
    parser.add_argument("--repeats", type=_at_least_one, help=f"turns each contestant gets; default {REPEATS}")
    parser.add_argument("--only", nargs="+", metavar="KEY", default=[], help="only these contestants")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    return parser


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number}: must be at least 1")
    return number


def _silent(line: str) -> None:
    """Say nothing."""
