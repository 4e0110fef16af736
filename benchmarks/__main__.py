"""All questions, one after the other: `python -m benchmarks [--quick] [--only NAME …] [--out DIRECTORY]`.

A question is a module here with `QUESTION`, its name, and `main(argv)`, which takes `--quick`, `--json` and `--plot`.
With `--out`, each leaves its figures there as JSON, and a picture where matplotlib is installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

QUESTIONS = (
    "throughput",
    "arrays",
    "models",
    "latency",
    "lag",
    "memory",
    "sharing",
    "start",
    "scaling",
    "threads",
    "mixed",
    "edges",
    "jobs",
    "web",
    "observed",
    "overload",
    "cluster",
    "chain",
    "recovery",
    "by_others",
    "torture",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask every question, or those named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="All questions, one after the other.")
    parser.add_argument("--quick", action="store_true", help="a few records, once: does everything run?")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=QUESTIONS, default=QUESTIONS, help="only these")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="where figures and pictures go")
    options = parser.parse_args(argv)
    for name in options.only:
        print(f"\n{name}\n", flush=True)
        ask = import_module(f"benchmarks.{name}").main
        ask([*(["--quick"] if options.quick else []), *_files(options.out, name)])


def _files(place: Path | None, name: str) -> list[str]:
    if place is None:
        return []
    place.mkdir(parents=True, exist_ok=True)
    picture = ["--plot", str(place / f"{name}.png")] if find_spec("matplotlib") else []
    return ["--json", str(place / f"{name}.json"), *picture]


if __name__ == "__main__":
    main()
