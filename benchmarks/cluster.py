"""What does a Dask cluster cost, against the lanes of this machine and against what is written for it by hand?

    python -m benchmarks.cluster [--quick] [--repeats N] [--json FILE] [--plot FILE]

A scheduler and two Dask workers of a thread each, on this machine; what is written by hand has others, of which it
uses the threads. Four tables: records a second of computing (200 µs a
record) and of JSON lines; what a batch and a call cost, and how soon the first result is there; how many lanes one
client feeds, with steps that wait; and what the scheduler holds while a million records go by.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from distributed import Client

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.delays import HEAD, Delays
from benchmarks.asking.measure import Timing, WrongWork, interleaved
from benchmarks.asking.question import Asked, Spread, asked
from benchmarks.asking.table import aligned
from benchmarks.cells.dask_cluster import Running, running
from benchmarks.contestants.cluster import Ours, line_up
from benchmarks.contestants.peers import WORKERS
from benchmarks.works import trivial
from benchmarks.works.cpu import even_work
from benchmarks.works.lines import LINES
from pipeframe_async import PipeFrame, PipelineEngine, apply

QUESTION = "cluster"
TITLE = "Records per second on a Dask cluster of this machine"
REPEATS = 5
QUICK_RECORDS = 40
CALLS, QUICK_CALLS = 300, 5
NAP = 0.02
NAPS, QUICK_NAPS = 100, 4
"""How many a lane takes."""
LANES, QUICK_LANES = (2, 8, 32, 64), (2,)
PASSING, QUICK_PASSING = 1_000_000, 1_000
LOOKS = 5


def nap(record: int) -> int:
    """A step that waits, so that there may be more lanes than cores."""
    time.sleep(NAP)
    return record


class Naps(PipelineEngine[int, int]):
    """For as many lanes as there are."""

    source = "stream"
    steps = [apply(nap)]


class Trivial(PipelineEngine[int, int]):
    """For calls, and for records that go by."""

    source = "stream"
    steps = [*trivial.TRIVIAL.steps]


def at(cluster: Running) -> str:
    """As `executor=` takes it."""
    return cluster.address.replace("tcp://", "dask://")


def rates(question: Asked, cluster: Running, by_hand: Running) -> dict[str, tuple[list[Timing], Ours, Ours]]:
    """By work, what each has taken; and the frames, here and there, which know of their batches.

    Its lanes have all threads of that cluster, so what is written by hand has another one.
    """
    found = {}
    for work in (even_work(), LINES):
        records = QUICK_RECORDS if question.quick else work.records
        with asyncio.Runner() as runner, Client(by_hand.address, set_as_default=False) as client:
            frames = PipeFrame(WORKERS), PipeFrame(executor=at(cluster))
            runner.run(_opened(*frames))
            here, there = (Ours(runner, frame) for frame in frames)
            contestants = line_up(work, here, there, client, records)
            if question.quick:
                contestants = [replace(each, choices=each.choices[:1]) for each in contestants]
            timings = interleaved(contestants, question.repeats, question.say, sweeps=1 if question.quick else 2)
            found[work.title] = timings, here, there
            runner.run(_closed(*frames))
    return found


async def _opened(*frames: PipeFrame) -> None:
    for frame in frames:
        await frame.__aenter__()


async def _closed(*frames: PipeFrame) -> None:
    for frame in frames:
        await frame.__aexit__(None, None, None)


async def soon(cluster: Running, calls: int) -> tuple[float, list[float]]:
    """Seconds until a new frame has its first result, and those of so many calls, one after the other."""
    began, taken = time.perf_counter(), []
    async with PipeFrame(executor=at(cluster)) as frame:
        await frame.call(Trivial, 1)
        first = time.perf_counter() - began
        for record in range(calls):
            began = time.perf_counter()
            await frame.call(Trivial, record)
            taken.append(time.perf_counter() - began)
    return first, taken


async def fed(cluster: Running, lanes: int, naps: int) -> tuple[float, float]:
    """Of so many lanes that wait: the share of what they could do, and of a core that this process used."""
    async with PipeFrame(executor=at(cluster), cpu_count=lanes, buffer_size=100 * lanes) as frame:
        await frame.run(Naps, range(10 * lanes))  # all lanes are there, and the hop is known
        began, cpu = time.perf_counter(), time.process_time()
        report = await frame.run(Naps, range(naps * lanes))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    if report.delivered != naps * lanes:
        raise WrongWork(f"{report.delivered} of {naps * lanes} naps")
    return naps * NAP / wall, cpu / wall


async def passing(cluster: Running, records: int) -> list[int]:
    """What the scheduler holds, before and while so many records go by."""
    held = [cluster.scheduler_bytes]
    async with PipeFrame(executor=at(cluster)) as frame:
        for _ in range(LOOKS):
            await frame.run(Trivial, range(records // LOOKS))
            held.append(cluster.scheduler_bytes)
    return held


def draw(found: dict[str, Any], file: Path) -> None:
    """One bar a contestant and work."""
    rows = [
        Bar(f"{row['label']}, {work}", row["key"] == "there", row["rate"], row["rate"], f"{row['rate']:,.0f}")
        for work, rows in found["rates"].items()
        for row in rows
    ]
    bars(found, rows, "records/s", file)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    firsts: list[float] = []
    calls = Delays()
    with running([1] * WORKERS) as cluster:
        with running([1] * WORKERS) as another:
            found = rates(question, cluster, another)
        for _ in range(question.repeats):
            first, taken = asyncio.run(soon(cluster, QUICK_CALLS if question.quick else CALLS))
            firsts.append(first)
            calls.turns.append(taken)
        held = asyncio.run(passing(cluster, QUICK_PASSING if question.quick else PASSING))
    feeding: dict[int, list[tuple[float, float]]] = {}
    for lanes in QUICK_LANES if question.quick else LANES:
        with running([lanes]) as cluster:
            naps = QUICK_NAPS if question.quick else NAPS
            feeding[lanes] = [asyncio.run(fed(cluster, lanes, naps)) for _ in range(question.repeats)]
    question.answer(
        TITLE,
        "\n\n".join([_rates(found), _costs(found, firsts, calls), _feeding(feeding), _held(held)]),
        {
            "rates": {work: [timing.as_json() for timing in timings] for work, (timings, *_) in found.items()},
            "cpu_a_batch": {
                work: [ours.hops.cpu_a_batch for ours in (here, there)] for work, (_, here, there) in found.items()
            },
            "first": asdict(Spread.of(firsts)),
            "calls": calls.as_json(),
            "fed": {
                lanes: [asdict(Spread.of(of)) for of in zip(*seen, strict=True)] for lanes, seen in feeding.items()
            },
            "scheduler_bytes": held,
        },
        draw,
    )


def _rates(found: dict[str, tuple[list[Timing], Ours, Ours]]) -> str:
    parts = []
    for work, (timings, *_) in found.items():
        ours = timings[0].rates
        rows = [["contestant", "records/s", "min – max", "ours ×"]]
        for timing in timings:
            chosen = "" if timing.choice is None else f", {timing.choice} of {len(timing.swept)} sizes"
            low, *_, high = [*timing.rates, timing.rates[-1]]
            times = Spread.of(theirs / mine for mine, theirs in zip(timings[0].seconds, timing.seconds, strict=True))
            rows.append(
                [timing.contestant.label + chosen, f"{timing.rate:,.0f}", f"{low:,.0f} – {high:,.0f}", times.words()]
            )
        parts.append(f"{work} ({timings[0].contestant.records:,}, {len(ours)} turns)\n\n{aligned(rows)}")
    return "\n\n".join(parts)


def _costs(found: dict[str, tuple[list[Timing], Ours, Ours]], firsts: Sequence[float], calls: Delays) -> str:
    rows = [["CPU of this process for a batch", "records", "ms, on the cluster", "records", "ms, in local lanes"]]
    for work, (_, here, there) in found.items():
        figures = [(f"{of.hops.records_a_batch:,.0f}", f"{1e3 * of.hops.cpu_a_batch:.2f}") for of in (there, here)]
        rows.append([work, *(figure for pair in figures for figure in pair)])
    more = [["one call", *HEAD], ["on the cluster", *calls.cells()]]
    first = f"first result after {Spread.of(firsts).words()} s of a new frame"
    return f"{aligned(rows)}\n\n{aligned(more)}\n\n{first}"


def _feeding(feeding: dict[int, list[tuple[float, float]]]) -> str:
    rows = [["lanes that wait", "of what they could do", "of a core here", "lanes a core feeds"]]
    for lanes, seen in feeding.items():
        share, core = (Spread.of(of) for of in zip(*seen, strict=True))
        rows.append([str(lanes), share.words(), core.words(), f"{lanes * share.median / core.median:,.0f}"])
    return aligned(rows)


def _held(held: Sequence[int]) -> str:
    grown = f"{(held[-1] - held[1]) / 2**20:+.1f} MiB from the first fifth to the last"
    return f"the scheduler holds {median(held) / 2**20:.0f} MiB while the records go by; {grown}"


if __name__ == "__main__":
    main()
