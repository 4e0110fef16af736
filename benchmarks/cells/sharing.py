"""Two workers read the whole of one table in one way, and this process says how much memory that took.

`python -m benchmarks.cells.sharing KEY BYTES` prints JSON. The same workers have read a small table before, so that
what is told is the large one's. It is looked at while all workers have it, each after it has read all of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pipeframe_async import PipeFrame, PipelineEngine, share

Table = NDArray[numpy.int64]
Sums = dict[int, int]
"""By the pid of each worker, the sum it has made of the table."""
Read = Callable[[Table], Sums]

WORKERS = 2
SMALL = 8192
PROC = Path("/proc")


def added_up(table: Table) -> tuple[int, int]:
    """What a worker does: reads all of it."""
    return os.getpid(), int(table.sum())


class Adding(PipelineEngine[Any, Any]):
    """Each record is a worker that adds up the table; as many as it takes until each has done so."""

    source = "stream"
    batch_size = 1

    def __init__(self, table: Any) -> None:
        self.table = table
        self.sums: Sums = {}
        self.steps = [self.add]

    def feed(self) -> Iterator[int]:
        number = 0
        while len(self.sums) < WORKERS:
            yield (number := number + 1)

    def add(self, number: int) -> tuple[tuple[int, int], bool]:
        return added_up(self.given()), True

    def given(self) -> Table:
        """The table, as this pipeline has it."""
        table: Table = self.table
        return table

    def sink(self, found: list[tuple[int, int]]) -> None:
        self.sums.update(found)


class AddingShared(Adding):
    """The same of a handle."""

    def given(self) -> Table:
        table: Table = self.table.value
        return table


def ours(pipeline: Callable[[Table], Adding], look: Callable[[Read], Any]) -> Any:
    """A warm frame."""

    async def run() -> Any:
        async with PipeFrame(WORKERS, buffer_size=2 * WORKERS) as frame:

            async def read(table: Table) -> Sums:
                adding = pipeline(table)
                await frame.run(adding)
                return adding.sums

            loop = asyncio.get_running_loop()
            return await asyncio.to_thread(
                look, lambda table: asyncio.run_coroutine_threadsafe(read(table), loop).result()
            )

    return asyncio.run(run())


def shared(look: Callable[[Read], Any]) -> Any:
    """An attribute that is a handle."""
    return ours(lambda table: AddingShared(share(table)), look)


def attribute(look: Callable[[Read], Any]) -> Any:
    """An attribute that is the table."""
    return ours(Adding, look)


def joblib(look: Callable[[Read], Any]) -> Any:
    """As its documentation has it: an argument that is larger than a mebibyte is written to a file and mapped."""
    library = import_module("joblib")
    with library.Parallel(n_jobs=WORKERS, batch_size=1) as parallel:

        def read(table: Table) -> Sums:
            sums: Sums = {}
            while len(sums) < WORKERS:
                sums.update(parallel(library.delayed(added_up)(table) for _ in range(2 * WORKERS)))
            return sums

        found = look(read)
    import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)
    return found


WAYS = {"shared": shared, "attribute": attribute, "joblib": joblib}


def figure(file: str, name: str) -> int:
    """A line of a file of /proc, in bytes."""
    lines = (line.split(":", 1) for line in (PROC / file).read_text().splitlines() if ":" in line)
    return next(1024 * int(rest.split()[0]) for found, rest in lines if found == name)


def own(pid: int) -> int:
    """Bytes that a process has of its own, not of any file: also where it is the only one that still maps one."""
    return figure(f"{pid}/smaps_rollup", "Anonymous")


def measured(key: str, nbytes: int) -> dict[str, Any]:
    """The table is there; then it is read, and what has come on top is told."""

    def look(read: Read) -> dict[str, Any]:
        pids = [*read(numpy.arange(SMALL // 8))]
        table = numpy.arange(nbytes // 8)
        gc.collect()
        (PROC / "self" / "clear_refs").write_text("5")  # the most that was resident is counted from here on
        machine, resident = figure("meminfo", "MemAvailable"), figure("self/status", "VmRSS")
        before = {pid: own(pid) for pid in (os.getpid(), *pids)}
        began = time.perf_counter()
        sums = read(table)
        seconds = time.perf_counter() - began
        grown = {pid: own(pid) - before[pid] for pid in before}
        return {
            "table": table.nbytes,
            "seconds": seconds,
            "parent": grown.pop(os.getpid()),
            "peak": figure("self/status", "VmHWM") - resident,
            "worker": max(grown.values()),
            "machine": machine - figure("meminfo", "MemAvailable"),
            "same": {*sums.values()} == {int(table.sum())} and {*sums} == {*pids},
        }

    found: dict[str, Any] = WAYS[key](look)
    return found


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
