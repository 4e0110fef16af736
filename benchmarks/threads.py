"""Do threads use all cores, where there is no GIL? And where there is one?

    python -m benchmarks.threads [--quick] [--repeats N] [--json FILE] [--plot FILE]

Pure Python in threads and in processes: next to nothing, so that what is measured is the way; 100 µs a record that has
nothing in common with others; and 100 µs a record with a look at the same two objects, over and over, whose references
threads without a GIL have to count together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.measure import Timing, interleaved
from benchmarks.asking.question import asked
from benchmarks.asking.table import aligned
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.peers import WORKERS, windowed
from benchmarks.works.threads import FEWEST, ThreadWork, through, works
from benchmarks.works.trivial import feed
from benchmarks.works.workload import Chunks, Done, all_through
from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async.gil import gil_enabled

QUESTION = "threads"
REPEATS = 3
TITLE = "Records per second in threads and processes"
CHUNK_SIZES = (40, 160, 2_500)
OURS = (
    ("inline", 1),
    ("threads", 1),
    ("threads", WORKERS),
    ("processes", 1),
    ("processes", WORKERS),
    ("auto", WORKERS),
)


class OneStep(PipelineEngine[int, int]):
    """This library's side of it."""

    source = "stream"

    def __init__(self, work: ThreadWork) -> None:
        self.steps = [work.step]


def ours(work: ThreadWork, executor: str, workers: int, records: int) -> Done:
    """`frame.stream(P)` with a plain generator."""
    return asyncio.run(_ours(work, executor, workers, records))


async def _ours(work: ThreadWork, executor: str, workers: int, records: int) -> Done:
    async with PipeFrame(cpu_count=workers, executor=executor).stream(OneStep(work), feed(records)) as stream:
        return looked([result async for result in stream])


def pooled(work: ThreadWork, workers: int, records: int, size: int) -> Done:
    """`ThreadPoolExecutor.submit`, with chunks cut by hand, a few of them ahead."""
    function = partial(all_through, partial(through, work.step))
    with ThreadPoolExecutor(workers) as pool:
        return looked([*chain.from_iterable(windowed(pool, function, Chunks(feed, records, size)))])


def plain(work: ThreadWork, records: int) -> Done:
    """One loop in one thread."""
    return looked([through(work.step, record) for record in feed(records)])


def looked(results: Sequence[int]) -> Done:
    """All results, added up; they grow from one to the next."""
    return Done(len(results), sum(results), in_order=all(map(int.__lt__, results, results[1:])))


def contestants(work: ThreadWork, *, quick: bool) -> Iterator[Contestant]:
    """Who takes part in one of the works, in one form each."""
    records, sizes = (FEWEST, CHUNK_SIZES[:1]) if quick else (work.records, CHUNK_SIZES)
    a = partial(Contestant, records=records, expected=work.expected, form=work.key)
    yield a("plain", "a plain loop", run=partial(plain, work), kind="plain")
    for workers in (1, WORKERS):
        yield a(
            f"pool_{workers}",
            f"ThreadPoolExecutor({workers}).submit, chunked",
            run=partial(pooled, work, workers),
            kind="pool",
            choices=sizes,
            knob="chunk size",
        )
    for executor, workers in OURS:
        yield a(
            f"{executor}_{workers}",
            f"ours, {executor}, {workers} of them",
            run=partial(ours, work, executor, workers),
            kind="ours",
        )


def table(work: ThreadWork, timings: Sequence[Timing]) -> str:
    """For people."""
    loop = timings[0]
    rows = [[work.label, "µs a record", "records/s", "min – max", "start ms", "× a plain loop", "once started"]]
    for t in timings:
        rows.append(
            [
                t.contestant.label + (f" ({t.contestant.knob} {t.choice})" if t.choice else ""),
                f"{1e6 / t.rate:,.3g}",
                f"{t.rate:,.0f}",
                f"{t.rates[0]:,.0f} – {t.rates[-1]:,.0f}",
                f"{1000 * t.start:,.0f}",
                f"{t.rate / loop.rate:.2f}",
                f"{t.steady_rate / loop.steady_rate:.2f}",
            ]
        )
    return aligned(rows)


def draw(found: dict[str, Any], file: Path) -> None:
    """One bar a contestant and work."""
    rows = [
        Bar(f"{row['label']}, {row['form']}", row["ours"], row["rate"], row["rate"], f"{row['rate']:,.0f}")
        for row in found["contestants"]
    ]
    bars(found, rows, "records per second, start and end of the workers included", file)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    all_works = works()
    line_up = [contestant for work in all_works for contestant in contestants(work, quick=question.quick)]
    timings = interleaved(line_up, question.repeats, question.say, 1 if question.quick else 2)
    by_work = [(work, [t for t in timings if t.contestant.form == work.key]) for work in all_works]
    found = [replace(t.contestant, key=f"{t.contestant.key}_{t.contestant.form}") for t in timings]
    question.answer(
        TITLE,
        "\n\n".join(table(work, of) for work, of in by_work),
        {
            "gil": gil_enabled(),
            "contestants": [{**t.as_json(), "key": c.key} for t, c in zip(timings, found, strict=True)],
        },
        draw,
    )


if __name__ == "__main__":
    main()
