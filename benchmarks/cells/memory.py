"""One contestant takes its records through the steps in this process, which then says how much memory that took.

`python -m benchmarks.cells.memory KEY RECORDS` prints JSON. Each contestant imports what it needs and no more; what
that takes is told apart.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.works.trivial import TRIVIAL, through
from benchmarks.works.workload import Chunks, Done, all_through

CHUNK_SIZE = 4_000
"""What a user would find good for trivial records; larger ones take more memory."""

Run = Callable[[int], Done]


def ours(way: str) -> Run:
    """One of the ways of `contestants/ours.py`."""
    found: Run = partial(import_module("benchmarks.contestants.ours").WAYS[way][1], TRIVIAL)
    return found


def pool(name: str) -> Run:
    """A pool that cuts chunks itself."""
    drive = getattr(import_module("benchmarks.contestants.peers"), name)
    return lambda records: TRIVIAL.look(drive(through, Chunks(TRIVIAL.feed, records, CHUNK_SIZE)))


def windowed() -> Run:
    """Chunks cut and submitted by hand, a few ahead."""
    drive = import_module("benchmarks.contestants.peers").executor

    def run(records: int) -> Done:
        chunks = drive(partial(all_through, through), Chunks(TRIVIAL.feed, records, CHUNK_SIZE))
        return TRIVIAL.look(chain.from_iterable(chunks))

    return run


def loky_map() -> Run:
    """As the standard library's `map`."""
    library = import_module("loky")

    def run(records: int) -> Done:
        with library.ProcessPoolExecutor(2) as workers:
            return TRIVIAL.look(workers.map(through, TRIVIAL.feed(records), chunksize=CHUNK_SIZE))

    return run


WAYS: dict[str, Callable[[], Run]] = {
    "ours": partial(ours, "ours"),
    "ours_async_feed": partial(ours, "ours_async_feed"),
    "ours_results": partial(ours, "ours_results"),
    "executor_map": partial(pool, "executor_map"),
    "executor": windowed,
    "pool": partial(pool, "older_pool_chunksize"),
    "loky": loky_map,
}


def memory(name: str) -> int:
    """Bytes of this process, by the kernel's name for them: VmRSS now, VmHWM at most so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def measured(key: str, records: int) -> dict[str, Any]:
    """Import, look, work, look."""
    run = WAYS[key]()
    gc.collect()
    imported = memory("VmRSS")
    done = run(records)
    return {"imported": imported, "peak": memory("VmHWM"), "records": done.records, "checksum": done.checksum}


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
