"""How long is a lane out of service? `python -m benchmarks.recovery [--quick] [--json FILE]`.

A worker is killed in the middle of a record, or its record goes over `time_limit`; the clock stops when the
engine has the death in hand, and again when the next batch of the same lane has been answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from benchmarks.asking.measure import Machine
from benchmarks.asking.table import aligned
from pipeframe_async._worker.codec import dumps
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.executors.processes.lane import ProcessLane
from pipeframe_async.wire import ChainRef, ChainSpec, Death, Packed

QUESTION = "recovery"
LIMIT = 0.25
"""Seconds; `time_limit` of the records that hang."""

Seconds = tuple[float, float]
"""From the kill, or the end of the limit, to the death in hand; and from there to the next answer."""


def hangs(begun: Path, record: int) -> tuple[int, bool]:
    """In Python; tells by a file that it has begun, and when."""
    begun.write_text(str(time.monotonic()))
    time.sleep(1000)
    return record, True


def hangs_in_c(begun: Path, record: int) -> tuple[int, bool]:
    """In C, with the GIL held: no Python code of the worker runs any more, its signal handlers included."""
    begun.write_text(str(time.monotonic()))
    return 10 ** (10**9), True


def backtracks(begun: Path, record: int) -> tuple[int, bool]:
    """In a regular expression."""
    begun.write_text(str(time.monotonic()))
    re.match(r"(a+)+$", "a" * 60 + "b")
    return record, True


def passes(record: int) -> tuple[int, bool]:
    return record, True


async def killed(lanes: ProcessLanes, begun: Path) -> Seconds:
    """The worker gets SIGKILL from outside."""
    lane, stuck = lanes.lanes[0], lanes.load(ChainSpec(("hangs",), (partial(hangs, begun),), None))
    running = asyncio.ensure_future(run(lane, stuck))
    await told(begun)
    assert lane._worker is not None
    at = time.monotonic()
    os.kill(lane._worker.pid, signal.SIGKILL)
    assert isinstance(await running, Death)
    return time.monotonic() - at, await back(lanes)


async def over_limit(lanes: ProcessLanes, begun: Path, step: Callable[[Path, int], tuple[int, bool]]) -> Seconds:
    """The record goes over its limit."""
    spec = ChainSpec((step.__name__,), (partial(step, begun),), None, LIMIT)
    running = asyncio.ensure_future(run(lanes.lanes[0], lanes.load(spec)))
    limit = await told(begun) + LIMIT
    death = await running
    at = time.monotonic()
    assert isinstance(death, Death)
    assert death.kind == "timeout"
    return at - limit, await back(lanes)


async def run(lane: ProcessLane, chain: ChainRef) -> object:
    return await lane.run(chain, 0, Packed(1, dumps([0])), ship=False)


async def back(lanes: ProcessLanes) -> float:
    """Until the lane has answered a batch."""
    started = time.monotonic()
    reply = await run(lanes.lanes[0], lanes.load(ChainSpec(("passes",), (passes,), None)))
    assert not isinstance(reply, Death)
    return time.monotonic() - started


async def told(begun: Path) -> float:
    """When the record began, once it has."""
    while not (begun.exists() and (text := begun.read_text())):
        await asyncio.sleep(0.001)
    begun.unlink()
    return float(text)


async def measured(method: str, repeats: int, place: Path) -> dict[str, list[Seconds]]:
    begun = place / "begun"
    lanes = ProcessLanes(1, method)
    await back(lanes)
    found: dict[str, list[Seconds]] = {"killed": [await killed(lanes, begun) for _ in range(repeats)]}
    for step in (hangs, backtracks, hangs_in_c):
        found[step.__name__] = [await over_limit(lanes, begun, step) for _ in range(max(3, repeats // 5))]
    await lanes.close(kill=False, timeout=10)
    return found


LABELS = {
    "killed": "SIGKILL from outside",
    "hangs": f"hung in Python, over time_limit={LIMIT:g}",
    "backtracks": "in a regular expression",
    "hangs_in_c": "in C code that holds the GIL",
}


def table(found: dict[str, dict[str, list[Seconds]]]) -> str:
    head = ["death", "start method", "n", "in hand p50 ms", "p99", "back p50 ms", "p99"]
    rows = [
        [LABELS[what], method, str(len(times)), *figures([t[0] for t in times]), *figures([t[1] for t in times])]
        for method, by in found.items()
        for what, times in by.items()
    ]
    return aligned([head, *rows])


def figures(seconds: Sequence[float]) -> list[str]:
    return [f"{1000 * median(seconds):.1f}", f"{1000 * quantiles(seconds, n=100, method='inclusive')[98]:.1f}"]


def main(argv: Sequence[str] | None = None) -> None:
    """Kill, wait, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few deaths: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="taken as by all questions; this one has no picture")
    options = parser.parse_args(argv)
    machine, repeats = Machine.here(), 3 if options.quick else 100
    with TemporaryDirectory() as place:
        found = {m: asyncio.run(measured(m, repeats, Path(place))) for m in ("forkserver", "spawn")}
    print(f"{machine}; one lane; after the kill, or after the end of the limit:\n\n{table(found)}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine.as_json(), "limit": LIMIT, "seconds": found}, indent=1))


if __name__ == "__main__":
    main()
