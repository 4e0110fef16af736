"""Which tests take long: what `slow.txt` has, and what stays, made of how long all of them have taken.

    python -m pytest -m full --junitxml=all.xml
    python -m tests.durations [--seconds 0.2] all.xml … > tests/slow.txt

On a machine with nothing else to do: a busy one makes all of them slow. What is left runs on one loop, so that a test
of both counts half then.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

SECONDS = 0.2
"""A function whose tests take longer is slow. There are three thousand functions, and three minutes."""
WITH_SERVERS = ("tests/real/", "tests/benchmarks/", "tests/web/")
"""Rooms whose tests share what takes long to start, and counts for whoever comes first: all of them are slow."""
KEPT = (
    "tests/architecture/",
    "tests/process/test_faults.py::test_a_bad_record_costs_itself_and_nothing_else",
    "tests/engine/test_simulation.py::test_nothing_is_lost_delivered_twice_or_blamed_wrongly_whatever_happens",
)
"""Those that stay all the same: the import law is looked at, each fault is met once, two hundred seeds are drawn."""


def function_of(nodeid: str) -> str:
    """The function of a test, for all its parameters: `tests/words/test_x.py::test_y`."""
    return nodeid.partition("[")[0]


def timed(junit: str) -> Iterator[tuple[str, float]]:
    """Each test of a file of results, by its function, and its seconds."""
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        parts = [*case.get("classname", "").split("."), case.get("name", "")]
        paths = {at: Path(*parts[:at], "_").parent for at in range(len(parts), 0, -1) if parts[0]}
        module = next((at for at, path in paths.items() if path.with_suffix(".py").is_file()), 0)
        if not module:  # a whole module was skipped
            continue
        file = Path(*parts[:module]).with_suffix(".py").as_posix()
        yield function_of("::".join([file, *parts[module:]])), float(case.get("time", 0))


def main() -> None:
    """Print the functions that are slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a function; default %(default)s")
    parser.add_argument("junit", nargs="+", help="files of results")
    asked = parser.parse_args()
    seconds: defaultdict[str, float] = defaultdict(float)
    for junit in asked.junit:
        for function, spent in timed(junit):
            seconds[function] += spent
    slow = sorted(
        function
        for function, spent in seconds.items()
        if (spent > asked.seconds or function.startswith(WITH_SERVERS)) and not function.startswith(KEPT)
    )
    print(*slow, sep="\n")
    left = sum(spent for function, spent in seconds.items() if function not in {*slow})
    print(f"{len(slow)} of {len(seconds)} are slow; the others take {left:.0f} s, all together", file=sys.stderr)


if __name__ == "__main__":
    main()
