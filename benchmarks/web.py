"""How long does a trivial request take while others keep the CPU busy?

    python -m benchmarks.web [--quick] [--repeats N] [--json FILE] [--plot FILE]

One FastAPI app under uvicorn, three times: the work by `frame.call`, by a bare `run_in_executor`, and done inline. 16
clients ask for 20 ms of CPU each, again and again; one more asks for nothing, and is timed.
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

QUESTION = "web"
TITLE = "Milliseconds a trivial request takes while 16 clients keep the workers busy, p99"
REPEATS = 3
SECONDS, QUICK_SECONDS = 6.0, 0.3
CLIENTS = 16
WORK_SECONDS = 0.020
LABELS = {"ours": "frame.call", "executor": "run_in_executor", "inline": "inline, on the loop"}
FIGURES = ("idle_p50", "idle_p99", "busy_p50", "busy_p99", "rate")
HEAD = ["the work", "idle p50 ms", "idle p99 ms", "busy p50 ms", "busy p99 ms", "p99: busy / idle", "work/s"]


@contextmanager
def served(key: str, rounds: int) -> Iterator[int]:
    """An app in a process of its own; gives its port."""
    command = [sys.executable, "-m", "benchmarks.cells.web_server", key, str(rounds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def measured(key: str, seconds: float, rounds: int) -> dict[str, float]:
    """One turn."""
    with served(key, rounds) as port:
        found: dict[str, float] = cell("benchmarks.cells.web_client", port, seconds, CLIENTS)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    lines = []
    for row in rows:
        words = [Spread(**row[name]).words(1, 2) for name in FIGURES[:4]]
        ratio = row["busy_p99"]["median"] / row["idle_p99"]["median"]
        lines.append([row["label"], *words, f"{ratio:.1f}", Spread(**row["rate"]).words(1, 0)])
    return aligned([HEAD, *lines])


def draw(found: dict[str, Any], file: Path) -> None:
    """Idle in front of busy."""
    rows = []
    for row in found["contestants"]:
        idle, busy = row["idle_p99"]["median"], row["busy_p99"]["median"]
        rows.append(Bar(row["label"], row["key"] == "ours", idle, busy, f"{idle:.1f} / {busy:.1f}"))
    bars(found, rows, "ms, p99 of /ping; dark: idle; pale: while the workers are busy", file)


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
    question.answer(TITLE, table(rows), {"seconds": seconds, "clients": CLIENTS, "contestants": rows}, draw)


if __name__ == "__main__":
    main()
