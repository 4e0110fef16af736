"""What happens with more workers than cores? Records per second with 1, 2, 4 and 8 of them, ours and a pool's.

Workers are there before the clock starts. The pool's chunk size is tried anew for each number of workers.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Asked, Spread
from benchmarks.asking.table import aligned
from benchmarks.contestants.ours_pipelines import Steps
from benchmarks.contestants.peers import context
from benchmarks.works.cpu import even_work
from benchmarks.works.trivial import TRIVIAL
from benchmarks.works.workload import Chunks, Workload, added_up, count_through
from pipeframe_async import PipeFrame

WORKERS = (1, 2, 4, 8)
AHEAD = 3
"""Chunks a worker is given ahead, as in `contestants/peers.py`."""
SWEPT_PART = 3

Run = Callable[[int], None]
"""Takes that many records through, and checks that it did."""


@dataclass(frozen=True, slots=True)
class Load:
    """A kind of work, and the sizes of chunk that are tried for it."""

    key: str
    label: str
    workload: Workload
    records: int
    sizes: tuple[int, ...]


def loads(*, quick: bool) -> list[Load]:
    """Trivial records, and 200 µs of CPU each."""
    trivial, even = (4_000, 200) if quick else (1_500_000, 5_000)
    return [
        Load("trivial", "trivial steps", TRIVIAL, trivial, (4_000, 16_000, 64_000)),
        Load("computing", "200 µs of CPU", even_work(), even, (16, 64, 256)),
    ]


@contextmanager
def ours(load: Load, workers: int) -> Iterator[Run]:
    """A warm frame, default knobs but for the number of workers."""

    async def run(records: int) -> None:
        report = await frame.run(Steps(load.workload), load.workload.feed(records))
        _check(load, records, report.delivered)

    with asyncio.Runner() as runner:
        frame = PipeFrame(cpu_count=workers)
        runner.run(frame.__aenter__())
        try:
            runner.run(run(workers * 10))
            yield lambda records: runner.run(run(records))
        finally:
            runner.run(frame.__aexit__(None, None, None))


@contextmanager
def pool(load: Load, workers: int) -> Iterator[Run]:
    """A warm pool, with the best of the chunk sizes."""
    work = load.workload
    function = partial(count_through, work.through, work.total)

    def run(records: int, size: int) -> None:
        done = added_up(_windowed(executor, workers, function, Chunks(work.feed, records, size)))
        _check(load, records, done.records, done.checksum)

    with ProcessPoolExecutor(workers, mp_context=context()) as executor:
        run(workers * 10, 1)  # starts them all
        part = max(1, load.records // SWEPT_PART)
        tried = {size: _seconds(partial(run, size=size), part) for size in load.sizes}
        yield partial(run, size=min(tried, key=lambda size: tried[size]))


def _windowed(executor: ProcessPoolExecutor, workers: int, function: Callable[..., Any], chunks: Chunks) -> Any:
    ahead: deque[Any] = deque()
    for chunk in chunks:
        ahead.append(executor.submit(function, chunk))
        if len(ahead) >= AHEAD * workers:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _check(load: Load, records: int, done: int, checksum: int | None = None) -> None:
    expected = load.workload.expected(records)
    if done != expected.records or checksum not in (None, expected.checksum):
        raise WrongWork(f"{load.label}: {done} records with {checksum}, expected {expected}")


def _seconds(run: Run, records: int) -> float:
    gc.collect()
    started = time.perf_counter()
    run(records)
    return time.perf_counter() - started


CONTESTANTS = {"ours": ("ours", ours), "pool": ("ProcessPoolExecutor.submit, chunked", pool)}


def measured(asked: Asked) -> list[dict[str, Any]]:
    """Records per second of each contestant, kind of work and number of workers."""
    everything = loads(quick=asked.quick)
    cells = [(load, key, workers) for load in everything for workers in WORKERS for key in CONTESTANTS]
    found: dict[tuple[str, str, int], list[float]] = {(load.key, key, workers): [] for load, key, workers in cells}
    for load, key, workers in asked.turns(cells):
        with CONTESTANTS[key][1](load, workers) as run:
            found[load.key, key, workers].append(load.records / _seconds(run, load.records))
    return [_row(load, key, found) for load in everything for key in CONTESTANTS]


def _row(load: Load, key: str, found: dict[tuple[str, str, int], list[float]]) -> dict[str, Any]:
    rates = {workers: Spread.of(found[load.key, key, workers]) for workers in WORKERS}
    best = max(rate.median for rate in rates.values())
    return {
        "key": key,
        "label": CONTESTANTS[key][0],
        "work": load.key,
        "work_label": load.label,
        "records": load.records,
        "workers": [
            {"workers": workers, "rate": asdict(rate), "of_best": rate.median / best} for workers, rate in rates.items()
        ],
    }


def text(rows: list[dict[str, Any]]) -> str:
    """For people."""
    head = ["records/s, and of its own best", "work", *(f"{workers} workers" for workers in WORKERS)]
    return aligned([head, *([row["label"], row["work_label"], *_cells(row)] for row in rows)])


def _cells(row: dict[str, Any]) -> Iterator[str]:
    for cell in row["workers"]:
        yield f"{cell['rate']['median']:,.0f} ({100 * cell['of_best']:.0f} %)"
