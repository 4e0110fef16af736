"""What do the benchmarks say that others measure their own pools by?

    python -m benchmarks.by_others [--quick] [--repeats N] [--json FILE] [--plot FILE]

What is done is theirs, written anew; who does it is ours, their own library, and the standard library's pool, each with
the knobs it has by default, in a process of its own, start and end of the workers included.

- joblib, `benchmarks/bench_auto_batching.py` (github.com/joblib/joblib): tasks that sleep, and return 0.1 MB; whether
  the size of a batch follows them. And what a call costs that does nothing.
- `multiprocessing_benchmarks` (github.com/sybrenjansen): one image under many filters; counts of beginnings of words.
  Its third part needs a model of TensorFlow.
- SPDL, `examples/benchmark_arena_transport.py` (github.com/facebookresearch/spdl): arrays made in another process that
  come here, and nothing is done with them; without an arena, through its ring and its pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.cell import cell
from benchmarks.asking.measure import WrongWork
from benchmarks.asking.question import Spread, asked, left_out
from benchmarks.asking.table import aligned
from benchmarks.contestants.line_up import is_here

QUESTION = "by_others"
TITLE = "Jobs that others measure by, times as fast as ours"
REPEATS = 3
POOLS = {"ours": "ours", "joblib": "joblib", "executor": "ProcessPoolExecutor.map"}
ARENAS = {
    "ours": "ours",
    "spdl": "SPDL, no arena",
    "spdl_ring": "SPDL, ring",
    "spdl_pool": "SPDL, pool of segments",
}
MIB = 2**20
JOBS = {
    "calls": ("20,000 calls of nothing", POOLS),
    "varied": ("5,000 tasks of 0 to 3 ms, high variance", POOLS),
    "even": ("the same, no variance", POOLS),
    "cyclic": ("300 tasks of 0 to 100 ms, a cycle", POOLS),
    "shuffled": ("the same, shuffled", POOLS),
    "filters": ("one image, 40 filters", POOLS),
    "prefixes": ("400 texts, beginnings of words", POOLS),
    **{f"arena{size * MIB}": (f"arrays of {size} MiB from another process", ARENAS) for size in (1, 8, 32)},
}


def measured(job: str, contestant: str, *, quick: bool) -> dict[str, Any]:
    """One turn."""
    found: dict[str, Any] = cell("benchmarks.cells.by_others", job, contestant, quick)
    return found


def check(job: str, turns: dict[str, list[dict[str, Any]]]) -> None:
    """All must have done the same.

    Raises:
        WrongWork: somebody has not.
    """
    found = {str(turn["found"]) for those in turns.values() for turn in those}
    if len(found) != 1:
        raise WrongWork(f"{job}: {found}")


def figures(job: str, turns: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What is known of each contestant of a job."""
    title, labels = JOBS[job]
    ours = Spread.of(turn["seconds"] for turn in turns["ours"]).median
    rows = []
    for key, those in turns.items():
        spreads = {name: Spread.of(turn[name] for turn in those) for name in ("seconds", "cpu", "peak")}
        row = {"job": job, "title": title, "key": key, "label": labels[key], "ours": key == "ours"}
        rows.append(
            row
            | {name: asdict(spread) for name, spread in spreads.items()}
            | {"tasks": those[0]["tasks"], "times": spreads["seconds"].median / ours}
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    lines = []
    for row in rows:
        seconds = Spread(**row["seconds"])
        rate = row["tasks"] / seconds.median
        moved = f"{rate * int(row['job'].removeprefix('arena')) / MIB:,.0f} MiB/s" if "arena" in row["job"] else ""
        lines.append(
            [
                row["title"],
                row["label"],
                seconds.words(1, 3),
                moved or f"{1e6 / rate:,.0f} µs a task",
                f"{row['cpu']['median']:.2f}",
                f"{row['peak']['median'] / MIB:,.0f}",
                f"{row['times']:.2f}",
            ]
        )
    columns = ["job", "contestant", "seconds", "which is", "cores busy s", "this process MiB", "ours ×"]
    return aligned([columns, *lines])


def draw(found: dict[str, Any], file: Path) -> None:
    """How many times as long as ours each took."""
    rows = [
        Bar(f"{row['label']}: {row['title']}", row["ours"], row["times"], row["times"], f"{row['times']:.2f}")
        for row in found["contestants"]
        if not row["ours"]
    ]
    bars(found, rows, "times as long as ours", file)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    if not Path("/proc/stat").exists() or any(find_spec(name) is None for name in ("numpy", "scipy")):
        raise SystemExit("needs Linux, numpy and scipy: pip install scipy")
    rows = []
    for job, (title, labels) in JOBS.items():
        question.say(title)
        here = [key for key in labels if is_here("spdl" if key.startswith("spdl") else key)]
        turns: dict[str, list[dict[str, Any]]] = {key: [] for key in here}
        for key in question.turns(here):
            turns[key].append(measured(job, key, quick=question.quick))
        check(job, turns)
        rows += figures(job, turns)
    question.answer(TITLE, table(rows) + left_out([*POOLS, *ARENAS]), {"contestants": rows}, draw)


if __name__ == "__main__":
    main()
