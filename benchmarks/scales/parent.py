"""How many workers can one parent feed? Its own CPU time for a batch, by how many trivial records are in it.

CPU time of the parent's process over a run in a warm frame, all its threads, the feed included; divided by the batches
that its workers answered.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Sequence
from dataclasses import asdict
from statistics import linear_regression
from typing import Any, cast

from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Asked, Spread
from benchmarks.asking.table import aligned
from benchmarks.contestants.ours_pipelines import Steps
from benchmarks.contestants.peers import WORKERS
from benchmarks.works.trivial import TRIVIAL
from pipeframe_async import PipeFrame
from pipeframe_async.executors.processes.fleet import ProcessLanes

BATCH_SIZES: dict[int | None, int] = {1: 4_000, 100: 200_000, 1_000: 1_000_000, None: 2_000_000}
"""With how many records each is measured; None is what the engine finds."""
QUICK_PART = 100
BATCH_SECONDS = 0.015
"""Of a worker's time: what the engine sizes batches toward."""
RECORD_SECONDS = (1e-6, 10e-6, 100e-6, 1e-3, 15e-3)
"""Work in a record, for which it is said how many workers one parent can feed."""


class Sized(Steps):
    """Trivial steps with a fixed size of batch."""

    def __init__(self, batch_size: int | None) -> None:
        super().__init__(TRIVIAL)
        self.batch_size = batch_size


async def run(frame: PipeFrame, batch_size: int | None, records: int) -> tuple[float, int]:
    """The parent's CPU seconds, and the batches.

    Raises:
        WrongWork: a record was lost.
    """
    gc.collect()
    before, batches = cpu_seconds(), answered(frame)
    report = await frame.run(Sized(batch_size), TRIVIAL.feed(records))
    if report.delivered != records:
        raise WrongWork(f"{report.delivered} of {records} records delivered")
    return cpu_seconds() - before, answered(frame) - batches


def cpu_seconds() -> float:
    """Of this process so far, its threads included, its children not."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def answered(frame: PipeFrame) -> int:
    """Batches so far. No report says it: it is of no use to those who run pipelines."""
    lanes = cast(ProcessLanes, frame._warm).lanes
    return sum(lane._worker.answered for lane in lanes if lane._worker is not None)


def measured(asked: Asked) -> dict[str, Any]:
    """Each size of batch, and what follows."""
    rows = asyncio.run(_all(asked))
    fixed, per_record = cost_of(rows)
    return {
        "sizes": rows,
        "batch_cpu": fixed,
        "record_cpu": per_record,
        "batch_seconds": BATCH_SECONDS,
        "feeds": [_feeds(work, fixed, per_record) for work in RECORD_SECONDS],
    }


async def _all(asked: Asked) -> list[dict[str, Any]]:
    found: dict[int | None, list[tuple[float, int]]] = {size: [] for size in BATCH_SIZES}
    sizes = {size: max(1, n // QUICK_PART) if asked.quick else n for size, n in BATCH_SIZES.items()}
    async with PipeFrame(cpu_count=WORKERS) as frame:
        await run(frame, None, 1_000)
        for size in asked.turns(list(sizes)):
            found[size].append(await run(frame, size, sizes[size]))
    return [_row(size, records, found[size]) for size, records in sizes.items()]


def _row(size: int | None, records: int, turns: Sequence[tuple[float, int]]) -> dict[str, Any]:
    return {
        "batch_size": size,
        "records": records,
        "batches": Spread.of(batches for _, batches in turns).median,
        "cpu_a_batch": asdict(Spread.of(cpu / batches for cpu, batches in turns)),
        "cpu_a_record": asdict(Spread.of(cpu / records for cpu, _ in turns)),
    }


def cost_of(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The parent's CPU seconds for a batch as such, and for each record in it: a line through all sizes."""
    sizes = [row["records"] / row["batches"] for row in rows]
    line = linear_regression(sizes, [row["cpu_a_batch"]["median"] for row in rows])
    # The line is drawn by the largest batches; what a batch costs as such is seen in the smallest.
    return rows[0]["cpu_a_batch"]["median"], max(0.0, line.slope)


def _feeds(work: float, fixed: float, per_record: float) -> dict[str, float]:
    """How many workers get batches of 15 ms from a parent that does nothing else."""
    records = max(1.0, BATCH_SECONDS / work)
    cpu = fixed + per_record * records
    return {"record_seconds": work, "records": records, "parent_cpu": cpu, "workers": max(BATCH_SECONDS, work) / cpu}


def text(found: dict[str, Any]) -> str:
    """For people."""
    head = ["batch size", "records", "batches", "records a batch", "parent's CPU, µs a batch", "ns a record"]
    rows = [
        [
            "self-tuned" if row["batch_size"] is None else f"{row['batch_size']:,}",
            f"{row['records']:,}",
            f"{row['batches']:,.0f}",
            f"{row['records'] / row['batches']:,.0f}",
            Spread(**row["cpu_a_batch"]).words(1e6, 0),
            Spread(**row["cpu_a_record"]).words(1e9, 0),
        ]
        for row in found["sizes"]
    ]
    feeds = [["work in a record", "records in 15 ms", "parent's CPU, µs a batch", "workers one parent can feed"]]
    feeds += [
        [
            f"{1e6 * row['record_seconds']:,.0f} µs",
            f"{row['records']:,.0f}",
            f"{1e6 * row['parent_cpu']:,.0f}",
            f"{row['workers']:,.0f}" if row["workers"] >= 10 else f"{row['workers']:,.1f}",
        ]
        for row in found["feeds"]
    ]
    return f"{aligned([head, *rows])}\n\n{aligned(feeds)}"
