"""What comes of a web app when more is asked of it than it can do?

    python -m benchmarks.overload [--quick] [--repeats N] [--json FILE] [--plot FILE]

One FastAPI app under uvicorn, three times: `frame.call` with a deadline of half a second, `run_in_executor` behind a
semaphore, and the same with the deadline as a timeout. 20 ms of CPU a request, three times as many as can be done, by
an open loop in a process of its own; and `/ping` beside it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.cell import ROOT, cell
from benchmarks.asking.question import Spread, asked
from benchmarks.asking.table import aligned
from benchmarks.works.cpu import rounds_in

QUESTION = "overload"
TITLE = "Seconds to an answer when three times the capacity is asked for, p50 and p99"
REPEATS = 3
SECONDS, QUICK_SECONDS = 6.0, 0.3
WORK_SECONDS = 0.020
DEADLINE = 0.5
TIMES = 3.0
LABELS = {
    "ours": "frame.call(deadline=0.5)",
    "semaphore": "run_in_executor, a semaphore",
    "in_time": "the same, 0.5 s for the semaphore",
}
FIGURES = (
    "capacity",
    "goodput",
    "good_p50",
    "good_p99",
    "refused",
    "refused_p50",
    "gone",
    "idle_p99",
    "busy_p99",
    "ping",
)
HEAD = [
    "the work",
    "capacity/s",
    "answers in time / capacity",
    "p50 s",
    "p99 s",
    "p99 / deadline",
    "503",
    "to a 503, p50 ms",
    "hung up",
    "/ping p99 ms: idle",
    "overloaded",
    "/ping p99: overloaded / idle",
]


@contextmanager
def served(key: str, rounds: int) -> Iterator[int]:
    """An app in a process of its own; gives its port."""
    command = [sys.executable, "-m", "benchmarks.cells.overload_server", key, str(rounds), str(DEADLINE)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def measured(key: str, seconds: float, rounds: int) -> dict[str, float]:
    """One turn."""
    with served(key, rounds) as port:
        found: dict[str, float] = cell("benchmarks.cells.overload_client", port, seconds, DEADLINE, TIMES)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    lines = []
    for row in rows:

        def of(name: str, digits: int, row: dict[str, Any] = row, scale: float = 1.0) -> str:
            return Spread(**row[name]).words(scale, digits)

        late = row["good_p99"]["median"] / DEADLINE
        lines.append(
            [
                row["label"],
                of("capacity", 0),
                of("goodput", 2),
                of("good_p50", 2),
                of("good_p99", 2),
                f"{late:.2f}",
                f"{row['refused']['median']:.0%}",
                of("refused_p50", 1),
                f"{row['gone']['median']:.0%}",
                of("idle_p99", 2),
                of("busy_p99", 2),
                of("ping", 1),
            ]
        )
    return aligned([HEAD, *lines])


def draw(found: dict[str, Any], file: Path) -> None:
    """The middle in front of the end."""
    rows = []
    for row in found["contestants"]:
        middle, end = row["good_p50"]["median"], row["good_p99"]["median"]
        words = f"{middle:.2f} / {end:.2f} s; {row['goodput']['median']:.0%} of the capacity in time"
        rows.append(Bar(row["label"], row["key"] == "ours", middle, end, words))
    bars(found, rows, "s to an answer; dark: p50; pale: p99; the deadline is 0.5", file)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise SystemExit("left out: this needs fastapi and uvicorn (pip install fastapi uvicorn)")
    seconds, rounds = QUICK_SECONDS if question.quick else SECONDS, rounds_in(WORK_SECONDS)
    turns: dict[str, list[dict[str, float]]] = {key: [] for key in LABELS}
    for key in question.turns(list(LABELS)):
        turns[key].append(measured(key, seconds, rounds))
    rows = [
        {
            "key": key,
            "label": LABELS[key],
            **{name: asdict(Spread.of(turn[name] for turn in turns[key])) for name in FIGURES},
        }
        for key in LABELS
    ]
    figures = {"seconds": seconds, "deadline": DEADLINE, "times": TIMES, "contestants": rows}
    question.answer(TITLE, table(rows), figures, draw)


if __name__ == "__main__":
    main()
