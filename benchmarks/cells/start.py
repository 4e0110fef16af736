"""One contestant starts and stops in this process: `python -m benchmarks.cells.start KEY RECORDS TIMES` prints JSON."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any

from benchmarks.cells.start_pools import OPENED, Pool


def way(key: str) -> Any:
    """A contestant, with all that it needs imported."""
    if key == "ours":
        return import_module("benchmarks.cells.start_ours").Ours()
    module, opened = OPENED[key]
    import_module(module)
    return Pool(opened)


def main(key: str, records: int, times: int) -> None:
    """Import, start for the first time, start again, keep warm."""
    started = time.perf_counter()
    contestant = way(key)
    imports = time.perf_counter() - started
    numbers = list(range(records))
    (cold, first), (again, second) = contestant.whole(numbers), contestant.whole(numbers)
    found = {"imports": imports, "cold": cold, "again": again, "warm": contestant.warm(numbers, times)}
    print(json.dumps({**found, "checksums": [first, second]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
