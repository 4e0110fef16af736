"""One question asked of each work of a table: its options, the measuring, and what is printed, written and drawn."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.asking import rates
from benchmarks.asking.measure import Machine, interleaved
from benchmarks.asking.question import parser_of
from benchmarks.contestants import line_up
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.peers import WORKERS

REPEATS = 5

LineUp = Callable[[bool], tuple[str, list[Contestant]]]
"""Told whether it shall be quick, a title for the picture and who takes part."""


def ask(question: str, about: str | None, works: Mapping[str, LineUp], argv: Sequence[str] | None) -> None:
    """Measure each work, print its table and the ratios that matter, and write what was asked for.

    Args:
        question: its name, that of its module.
        about: its docstring, for `--help`.
        works: by name, who takes part.
        argv: the options; None takes those of the command line.
    """
    parser = _parser(question, about, works)
    options = parser.parse_args(argv)
    if options.only:
        _refuse_unknown(parser, [works[name] for name in options.work], options)
    answers: dict[str, Any] = {}
    for name in options.work:
        answer = _answer(question, name, works[name], options)
        if answer is None:
            continue
        answers[name] = answer
        if options.json:  # after each, for one that fails must not cost the figures of those before
            found = {"question": question, "quick": options.quick, "works": answers}
            options.json.write_text(json.dumps(found, indent=2) + "\n")
        if options.plot:
            from benchmarks.asking.plot import draw  # the one part that needs matplotlib

            draw(answer, picture_of(name, options.plot))


def picture_of(work: str, file: Path) -> Path:
    """Where the picture of a work goes: beside the file that was named, with the work at the end of its name."""
    return file.with_stem(f"{file.stem}_{work}")


def _answer(question: str, name: str, contestants: LineUp, options: argparse.Namespace) -> dict[str, Any] | None:
    """What is found of one work, which has been printed; None where nobody of those wanted takes part."""
    say: Callable[[str], None] = _silent if options.quick else partial(print, file=sys.stderr, flush=True)
    machine = Machine.here()
    if machine.busy:
        say(f"{machine.cores_busy_before:g} cores are busy already: come back when the machine is quiet")
    title, everybody = contestants(options.quick)
    chosen = [contestant for contestant in everybody if not options.only or contestant.key in options.only]
    if not chosen:
        say(f"{name}: none of {', '.join(options.only)} takes part")
        return None
    repeats = options.repeats or (1 if options.quick else REPEATS)
    print(f"\n{name}\n", flush=True)
    if options.quick:
        timings = interleaved(line_up.quick(chosen), repeats, say, sweeps=1)
    else:
        timings = interleaved(chosen, repeats, say)
    print(f"{machine}; {WORKERS} workers, medians of {repeats}{rates.cost_of_work(timings)}\n\n{rates.table(timings)}")
    print(f"\n{rates.list_of(rates.that_matter(timings))}")
    for peer in line_up.missing():
        print(f"\nleft out, since it is not here: {peer.label} (pip install {peer.package})")
    return {"work": name, **rates.answer(question, title, timings, machine, repeats, quick=options.quick)}


def _refuse_unknown(parser: argparse.ArgumentParser, works: Sequence[LineUp], options: argparse.Namespace) -> None:
    """End, before anything is measured, where a key is wanted that takes part in no work."""
    keys = {contestant.key for contestants in works for contestant in contestants(options.quick)[1]}
    if unknown := [key for key in options.only if key not in keys]:
        parser.error(f"--only {' '.join(unknown)}: there are {', '.join(sorted(keys))}")


def _parser(question: str, about: str | None, works: Mapping[str, LineUp]) -> argparse.ArgumentParser:
    parser = parser_of(question, about, REPEATS)
    parser.add_argument("--work", nargs="+", metavar="NAME", choices=works, default=list(works), help="only these")
    parser.add_argument("--only", nargs="+", metavar="KEY", default=[], help="only these contestants")
    return parser


def _silent(line: str) -> None:
    """Say nothing."""
