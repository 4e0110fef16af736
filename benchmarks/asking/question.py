"""How a question is asked: its options, turns, figures with their spread, the answer.

Nothing here knows what is measured. `each_work.py` asks one question of several works, about rates.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

from benchmarks.asking.measure import Machine
from benchmarks.contestants import line_up
from benchmarks.contestants.peers import WORKERS

T = TypeVar("T")
Draw = Callable[[dict[str, Any], Path], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was asked: the options, and the machine it was asked on."""

    question: str
    quick: bool
    repeats: int
    json: Path | None
    plot: Path | None
    machine: Machine

    def say(self, line: str) -> None:
        """Tell how far it is, beside the answer; nothing where it is quick."""
        if not self.quick:
            print(line, file=sys.stderr, flush=True)

    def turns(self, contestants: Sequence[T]) -> Iterator[T]:
        """Each contestant as often as there are repeats, in turns, another one first each time."""
        for repeat in range(self.repeats):
            self.say(f"repeat {repeat + 1} of {self.repeats}")
            first = repeat % max(1, len(contestants))
            yield from contestants[first:]
            yield from contestants[:first]

    def answer(self, title: str, text: str, figures: dict[str, Any], draw: Draw) -> None:
        """Print the answer, and leave figures and picture where they were asked for."""
        print(f"{self.machine}; {WORKERS} workers, medians of {self.repeats}\n\n{text}")
        found = {
            "question": self.question,
            "title": title,
            "quick": self.quick,
            "machine": self.machine.as_json(),
            "workers": WORKERS,
            "repeats": self.repeats,
            **figures,
        }
        if self.json:
            self.json.write_text(json.dumps(found, indent=2) + "\n")
        if self.plot:
            draw(found, self.plot)


def asked(question: str, about: str | None, repeats: int, argv: Sequence[str] | None) -> Asked:
    """Read the options, and look at the machine.

    Args:
        question: its name, that of its module.
        about: its docstring, for `--help`.
        repeats: how often each contestant has its turn, unless it is quick or said otherwise.
        argv: the options; None takes those of the command line.
    """
    options = parser_of(question, about, repeats).parse_args(argv)
    found = Asked(
        question,
        options.quick,
        options.repeats or (1 if options.quick else repeats),
        options.json,
        options.plot,
        Machine.here(),
    )
    if found.machine.busy:
        found.say(f"{found.machine.cores_busy_before:g} cores are busy already: come back when the machine is quiet")
    return found


def parser_of(question: str, about: str | None, repeats: int) -> argparse.ArgumentParser:
    """The options that a question has, whatever it asks; `repeats` is how many it takes unless told otherwise."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{question}", description=(about or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few records, once: does it run?")
    parser.add_argument("--repeats", type=_at_least_one, help=f"turns each contestant gets; default {repeats}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    return parser


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number}: must be at least 1")
    return number


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over all repeats."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        ordered = sorted(values)
        return cls(median(ordered), ordered[0], ordered[-1], len(ordered))

    def words(self, scale: float = 1.0, digits: int = 2) -> str:
        """For a table: the median, and the range behind it."""
        low, high = f"{self.low * scale:,.{digits}f}", f"{self.high * scale:,.{digits}f}"
        return f"{self.median * scale:,.{digits}f}" + (f" ({low} – {high})" if self.n > 1 else "")


def percentile(values: Sequence[float], hundredths: int) -> float:
    """The value that so many of a hundred do not exceed."""
    return quantiles(values, n=100, method="inclusive")[hundredths - 1] if len(values) > 1 else values[0]


def left_out(keys: Iterable[str]) -> str:
    """A line for each of these peers that is not installed, to stand below the table."""
    named = set(keys)
    lines = [
        f"\n\nleft out, since it is not here: {peer.label} (pip install {peer.package})"
        for peer in line_up.missing()
        if peer.key in named
    ]
    return "".join(lines)
