"""What does it cost to be watched: the monitor, and the log lines of steps?

    python -m benchmarks.observed [--quick] [--repeats N] [--json FILE] [--plot FILE]

Trivial records through two workers: with a monitor that nobody looks at, or with a page that is open, a scraper and a
health file; and with steps that log something, or what nobody wants. Each as a ratio to the run without any of it, of
the time and of this process's CPU seconds. And 10,000 lines a second of each worker: by how much the loop is late, what
of a core this process uses, and whether each line has come, in order.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.delays import HEAD, Delays, words
from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Asked, Spread, asked
from benchmarks.asking.table import aligned
from benchmarks.cells import observed as steps
from benchmarks.cells import watched
from benchmarks.contestants.peers import WORKERS
from benchmarks.works import trivial
from pipeframe_async import PipeFrame, PipelineEngine, RunReport

QUESTION = "observed"
TITLE = "What it costs to be watched"
REPEATS = 5
RECORDS, QUICK_RECORDS = 4_000_000, 2_000
SECONDS, QUICK_SECONDS = 3.0, 0.05
TICK = 0.005

THROUGH: dict[str, tuple[Any, Callable[[int], int]]] = {
    "nothing": (steps.QUIET, lambda records: 0),
    "a monitor that nobody looks at": (steps.QUIET, lambda records: 0),
    "a page, a scraper, a health file": (steps.QUIET, lambda records: 0),
    "a line that nobody wants, for each record": (steps.BELOW, lambda records: 0),
    "a line for each 1,000 records": (steps.SPARSE, lambda records: -(-records // 1_000)),
}
"""What steps log in the first table, and how many lines that makes."""
MONITORED = ("a monitor that nobody looks at", "a page, a scraper, a health file")
BESIDE = {"an idle loop": None, "steps that wait": steps.waits, "10,000 lines/s of each worker": steps.logs}
"""What goes on beside the ticker in the second."""


def pipeline(work: Sequence[Any]) -> type[PipelineEngine[int, int]]:
    """One with these steps."""
    return type("Observed", (PipelineEngine,), {"source": "stream", "steps": tuple(work)})


@dataclass(slots=True)
class Beside:
    """What was seen in each turn of one row of the second table."""

    lags: Delays = field(default_factory=Delays)
    shares: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def through(name: str, records: int) -> tuple[float, float]:
    """Seconds of all records, and this process's CPU seconds.

    Raises:
        WrongWork: a line was lost, or came out of order.
    """
    work, lines = THROUGH[name]
    taken = steps.Takes()
    with _handled_by(taken), asyncio.Runner() as runner:
        gc.collect()
        started, cpu = time.perf_counter(), time.process_time()
        report = runner.run(_watched(name, work, records))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    _check(name, taken, lines(records), report.delivered == records)
    return seconds, cpu


async def _watched(name: str, work: Sequence[Any], records: int) -> RunReport:
    """The run; of one with a monitor until it has ended, and whoever looks at it has left."""
    if name not in MONITORED:
        return await PipeFrame(WORKERS).run(pipeline(work), trivial.feed(records))
    with tempfile.TemporaryDirectory() as folder:
        looked_at = name == MONITORED[1]
        frame = PipeFrame(WORKERS, monitor="127.0.0.1:0", health_file=Path(folder) / "health" if looked_at else None)
        running = asyncio.create_task(frame.run(pipeline(work), trivial.feed(records)))
        while frame.monitor_url is None:
            await asyncio.sleep(0)
        looking = watched.looks_at(frame.monitor_url) if looked_at else None
        try:
            return await running
        finally:
            if looking is not None:
                looking.kill()
                looking.wait()


async def beside(name: str, seconds: float) -> tuple[list[float], float, bool]:
    """Lags of the ticker, the share of a core, and whether all records came through."""
    lags: list[float] = []
    ticker = asyncio.create_task(_tick(lags))
    started, cpu, whole = time.perf_counter(), time.process_time(), True
    if (step := BESIDE[name]) is None:
        await asyncio.sleep(seconds)
    else:
        records = _turns(seconds)
        report = await PipeFrame(WORKERS).run(pipeline([step]), range(records))
        whole = report.delivered == records
    cpu, wall = time.process_time() - cpu, time.perf_counter() - started
    ticker.cancel()
    with suppress(asyncio.CancelledError):
        await ticker
    return lags, cpu / wall, whole


async def _tick(lags: list[float]) -> None:
    while True:
        wanted = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - wanted)


def _turns(seconds: float) -> int:
    return max(2, round(WORKERS * seconds / steps.TURN))


class _handled_by:  # noqa: N801 - it is used as a function
    """In this block the steps' lines of INFO and above are given to this handler."""

    def __init__(self, taken: steps.Takes) -> None:
        self._taken = taken

    def __enter__(self) -> None:
        steps.log.addHandler(self._taken)
        steps.log.propagate = False
        steps.log.setLevel(logging.INFO)

    def __exit__(self, *error: object) -> None:
        steps.log.removeHandler(self._taken)


def _check(name: str, taken: steps.Takes, lines: int, whole: bool) -> None:
    if not whole or taken.lines != lines or taken.disorder:
        raise WrongWork(f"{name}: {taken.lines} lines of {lines}, {taken.disorder} out of order; records: {whole}")


def lagging(question: Asked, seconds: float) -> dict[str, Beside]:
    """The second table."""
    found = {name: Beside() for name in BESIDE}
    for name in question.turns([*BESIDE]):
        taken = steps.Takes()
        with _handled_by(taken), asyncio.Runner() as runner:
            gc.collect()
            lags, share, whole = runner.run(beside(name, seconds))
        _check(name, taken, _turns(seconds) * steps.LINES if BESIDE[name] is steps.logs else 0, whole)
        found[name].lags.turns.append(lags)
        found[name].shares.append(share)
        found[name].lines.append(taken.lines)
    return found


def draw(found: dict[str, Any], file: Path) -> None:
    """p50 in front of p99, of the ticker."""
    rows = [
        Bar(row["label"], True, max(1e-3, 1e3 * row["p50"]["median"]), 1e3 * row["p99"]["median"], words(row))
        for row in found["beside"]
    ]
    bars(found, rows, "lag of a 5 ms ticker in ms; dark p50, pale p99", file)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    records = QUICK_RECORDS if question.quick else RECORDS
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in THROUGH}
    for name in question.turns([*THROUGH]):
        taken[name].append(through(name, records))
    quiet = taken["nothing"]
    times, cpus = (
        {n: Spread.of(t[of] / q[of] for t, q in zip(turns, quiet, strict=True)) for n, turns in taken.items()}
        for of in (0, 1)
    )
    seconds = {n: Spread.of(wall for wall, _ in turns) for n, turns in taken.items()}
    first = [["beside the run", "records/s", "time, as a ratio", "CPU here, as a ratio"]]
    first += [
        [n, f"{records / seconds[n].median:,.0f}", times[n].words(digits=3), cpus[n].words(digits=3)] for n in THROUGH
    ]
    lags = lagging(question, QUICK_SECONDS if question.quick else SECONDS)
    second = [["beside the ticker", *HEAD, "of a core", "lines"]]
    second += [
        [name, *row.lags.cells(), Spread.of(row.shares).words(digits=3), f"{sum(row.lines):,}"]
        for name, row in lags.items()
    ]
    question.answer(
        TITLE,
        f"{aligned(first)}\n\n{aligned(second)}",
        {
            "records": records,
            "through": [
                {"label": n, "seconds": asdict(seconds[n]), "ratio": asdict(times[n]), "cpu": asdict(cpus[n])}
                for n in THROUGH
            ],
            "beside": [
                {"label": n, **row.lags.as_json(), "share": asdict(Spread.of(row.shares)), "lines": sum(row.lines)}
                for n, row in lags.items()
            ],
        },
        draw,
    )


if __name__ == "__main__":
    main()
