"""One contestant starts and stops in this process: `python -m benchmarks.start_cell KEY RECORDS TIMES` prints JSON."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.start_ways import way


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
