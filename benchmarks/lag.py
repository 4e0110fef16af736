"""Is the event loop free while records go through the workers?

    python -m benchmarks.lag [--quick] [--repeats N] [--json FILE] [--plot FILE]

A task on the loop sleeps 5 ms, over and over; by how much it wakes too late is the lag. Meanwhile, trivial records go
through two workers, as many as take three seconds.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.delays import HEAD, Delays, words
from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Spread, asked, left_out
from benchmarks.asking.table import aligned
from benchmarks.contestants.lag import CONTESTANTS, Contestant, Timed
from benchmarks.works.trivial import expected
from benchmarks.works.workload import Done

QUESTION = "lag"
TITLE = "Lag of the event loop while trivial records go through two workers"
REPEATS = 3
SECONDS, QUICK_SECONDS = 3.0, 0.1
TICK = 0.005
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Row = tuple[Contestant, str]
"""A contestant, and the loop it is on."""


async def tick(lags: list[float]) -> None:
    """Sleep, and note by how much it was longer."""
    while True:
        wanted = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - wanted)


async def beside(contestant: Contestant, feed: Timed) -> tuple[list[float], Done]:
    """The ticker, beside a contestant at work, from the start of its workers to their end."""
    lags: list[float] = []
    ticker = asyncio.create_task(tick(lags))
    done = await contestant.run(feed)
    ticker.cancel()
    with suppress(asyncio.CancelledError):
        await ticker
    return lags, done


def measured(row: Row, seconds: float) -> tuple[list[float], int]:
    """Lags of one turn, and the records of it.

    Raises:
        WrongWork: a record was lost, doubled or changed.
    """
    contestant, loop = row
    feed = Timed(seconds)
    gc.collect()
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        lags, done = runner.run(beside(contestant, feed))
    if done != expected(feed.fed):
        raise WrongWork(f"{contestant.label}: {done}, expected {expected(feed.fed)}")
    return lags, done.records


def figures(everybody: Sequence[Row], delays: dict[Row, Delays], records: dict[Row, list[int]]) -> list[dict[str, Any]]:
    """What is known of each row, for programs."""
    idle = {loop: delays[c, loop].p99.median for c, loop in everybody if c.kind == "idle"}
    return [
        {
            "key": contestant.key,
            "label": contestant.label,
            "kind": contestant.kind,
            "loop": loop,
            "records": Spread.of(records[contestant, loop]).median,
            **delays[contestant, loop].as_json(),
            "p99_over_idle": delays[contestant, loop].p99.median - idle[loop],
        }
        for contestant, loop in everybody
    ]


def table(rows: Sequence[dict[str, Any]], everybody: Sequence[Row], delays: dict[Row, Delays]) -> str:
    """For people."""
    head = ["contestant", "loop", "records", *HEAD, "p99 − idle p99"]
    return aligned(
        [
            head,
            *(
                [r["label"], r["loop"], f"{r['records']:,.0f}", *delays[at].cells(), f"{1e3 * r['p99_over_idle']:+.2f}"]
                for r, at in zip(rows, everybody, strict=True)
            ),
        ]
    )


def draw(found: dict[str, Any], file: Path) -> None:
    """p50 in front of p99."""
    rows = [
        Bar(
            f"{row['label']} ({row['loop']})",
            row["kind"] == "ours",
            max(1e-3, 1e3 * row["p50"]["median"]),  # uvloop's clock may wake a moment early
            1e3 * row["p99"]["median"],
            words(row),
        )
        for row in found["contestants"]
    ]
    bars(found, rows, "lag of a 5 ms ticker in ms; dark p50, pale p99", file)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    seconds = QUICK_SECONDS if question.quick else SECONDS
    everybody = [(contestant, loop) for contestant in CONTESTANTS if contestant.is_here for loop in LOOPS]
    delays: dict[Row, Delays] = {row: Delays() for row in everybody}
    records: dict[Row, list[int]] = {row: [] for row in everybody}
    for row in question.turns(everybody):
        lags, done = measured(row, seconds)
        delays[row].turns.append(lags)
        records[row].append(done)
    found = figures(everybody, delays, records)
    question.answer(
        TITLE,
        table(found, everybody, delays) + left_out(contestant.peer for contestant in CONTESTANTS),
        {"tick": TICK, "seconds": seconds, "contestants": found},
        draw,
    )


if __name__ == "__main__":
    main()
