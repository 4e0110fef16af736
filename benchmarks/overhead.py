"""What does the engine cost per record, when the steps cost next to nothing?

    python -m benchmarks.overhead [--quick] [--repeats N] [--json FILE] [--plot FILE]

Ours against what is written today (a hop per record), what a good engineer writes (a pool with chunks sized
by hand), the design that this library follows (a queue hop per record), and a plain loop.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import ours, peers
from benchmarks.measure import Contestant, Machine, Timing, interleaved
from benchmarks.table import aligned

QUESTION = "overhead"
REPEATS = 5
IDLE_TIMEOUT = 2.0
"""Seconds a worker of the original's design waits for a record that may still come; its default."""
CHUNK_SIZES = (250, 1_000, 4_000, 16_000, 64_000)
WIDTHS = (4, 16, 64)


def contestants(idle_timeout: float = IDLE_TIMEOUT) -> list[Contestant]:
    """Who takes part, with as many records as take it one to three seconds on two cores of today."""
    chunked = partial(Contestant, choices=CHUNK_SIZES, knob="chunk size")
    tail = partial(peers.queue_and_workers, idle_timeout=idle_timeout)
    no_tail = partial(peers.queue_and_workers, idle_timeout=None)
    make = Contestant
    return [
        make("ours", "ours", 5_000_000, ours.counting, ours=True),
        make("ours_async_feed", "ours, async feed", 5_000_000, ours.counting_async_feed, ours=True),
        make("ours_chunk_feed", "ours, Chunk feed", 5_000_000, ours.counting_chunk_feed, ours=True),
        make("ours_results", "ours, with results", 3_000_000, ours.results, ours=True),
        chunked("chunked", "pool, chunked by hand", 8_000_000, peers.chunked_counts),
        chunked("chunked_results", "pool, chunked by hand, with results", 6_000_000, peers.chunked_results),
        make("plain", "a plain loop, one process", 5_000_000, peers.plain_loop),
        make("original", "the original's design", 200_000, no_tail),
        make("original_idle_tail", f"the original's design, {idle_timeout:g} s idle tail", 200_000, tail),
        make("hop", "run_in_executor per record", 15_000, peers.hop_per_record, choices=WIDTHS, knob="width"),
    ]


def quick(contestants: Sequence[Contestant]) -> list[Contestant]:
    """The same with next to nothing to do: shows that everything runs, and not how fast."""
    return [replace(c, records=c.records // 100, choices=c.choices[1:3]) for c in contestants]


def ratios(timings: Sequence[Timing]) -> dict[str, dict[str, float]]:
    """For each of ours: its rate as a multiple of each contestant's."""
    return {
        mine.contestant.key: {t.contestant.key: mine.rate / t.rate for t in timings}
        for mine in timings
        if mine.contestant.ours
    }


def table(timings: Sequence[Timing]) -> str:
    """The answer for people."""
    multiples = ratios(timings)
    head = ["contestant", "records", "records/s", "min – max", "start ms", "steady/s"]
    rows = [[*head, *(f"{_column(key)} ×" for key in multiples)]]
    for t in timings:
        tuned = f" ({t.contestant.knob} {t.choice:,})" if t.choice is not None else ""
        rows.append(
            [
                t.contestant.label + tuned,
                f"{t.contestant.records:,}",
                f"{t.rate:,.0f}",
                f"{t.rates[0]:,.0f} – {t.rates[-1]:,.0f}",
                f"{1000 * t.start:,.0f}",
                f"{t.steady_rate:,.0f}",
                *(_multiple(of[t.contestant.key]) for of in multiples.values()),
            ]
        )
    return aligned(rows)


def answer(timings: Sequence[Timing], machine: Machine, repeats: int, *, was_quick: bool) -> dict[str, Any]:
    """The answer for programs; README.md says what is in it."""
    return {
        "question": QUESTION,
        "quick": was_quick,
        "machine": machine.as_json(),
        "workers": peers.WORKERS,
        "repeats": repeats,
        "contestants": [timing.as_json() for timing in timings],
        "ratios": ratios(timings),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write what was asked for."""
    options = _options(argv)
    machine = Machine.here()
    say = _silent if options.quick else partial(print, file=sys.stderr, flush=True)
    if machine.busy:
        say(f"{machine.cores_busy_before:g} cores are busy already: come back when the machine is quiet")
    everybody = quick(contestants(idle_timeout=0.2)) if options.quick else contestants()
    timings = interleaved(everybody, options.repeats, say)
    print(f"{machine}; {peers.WORKERS} workers, medians of {options.repeats}\n\n{table(timings)}")
    found = answer(timings, machine, options.repeats, was_quick=options.quick)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.plot:
        from benchmarks.plot import draw  # the one part that needs matplotlib

        draw(found, options.plot)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few records, once: does it run?")
    parser.add_argument("--repeats", type=int, help=f"turns each contestant gets; default {REPEATS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    options = parser.parse_args(argv)
    if options.repeats is None:
        options.repeats = 1 if options.quick else REPEATS
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: must be at least 1")
    return options


def _column(key: str) -> str:
    return key.removeprefix("ours_").replace("_", " ")


def _multiple(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def _silent(line: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    main()
