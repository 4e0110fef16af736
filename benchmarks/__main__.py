"""All questions, one after the other: `python -m benchmarks [--quick] [--out DIRECTORY]`.

With `--out`, each leaves its figures there as JSON, and a picture where matplotlib is installed.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from benchmarks import overhead

QUESTIONS = {overhead.QUESTION: overhead.main}


def main() -> None:
    """Ask every question."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="All questions, one after the other.")
    parser.add_argument("--quick", action="store_true", help="a few records, once: does everything run?")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="where figures and pictures go")
    options = parser.parse_args()
    for name, ask in QUESTIONS.items():
        print(f"\n{name}\n")
        ask([*(["--quick"] if options.quick else []), *_files(options.out, name)])


def _files(place: Path | None, name: str) -> list[str]:
    if place is None:
        return []
    place.mkdir(parents=True, exist_ok=True)
    picture = ["--plot", str(place / f"{name}.png")] if find_spec("matplotlib") else []
    return ["--json", str(place / f"{name}.json"), *picture]


if __name__ == "__main__":
    main()
