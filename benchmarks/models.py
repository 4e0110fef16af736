"""How many rows a second does a model of scikit-learn predict in worker processes?

    python -m benchmarks.models [--quick] [--repeats N] [--json FILE] [--plot FILE]

A million rows of twenty floats, and a class out of each. Ours is a `vectorize` step, rows fed and classes taken one by
one; the others have chunks cut by hand. A step for each row says what is gained by having many at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.asking import rates
from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.measure import Timing, interleaved
from benchmarks.asking.question import asked, left_out
from benchmarks.contestants import line_up
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.peers import WORKERS
from benchmarks.works.workload import Chunks, Done
from pipeframe_async import PipeFrame, PipelineEngine, apply, vectorize

QUESTION = "models"
REPEATS = 3
TITLE = "Rows that a model predicts, per second"
RECORDS, PLAIN_RECORDS, ONE_BY_ONE, QUICK_RECORDS = 1_000_000, 200_000, 500, 64
"""Rows of those that have many at once; of a plain loop; of who has one row at a time; of all, where it is quick."""
SIZES = (512, 2_048)
"""Rows of a call, or a chunk: the better one is found for each contestant. Ours may have a fourth of `buffer_size`."""
KEYS = ("executor", "joblib")


class Predicted(PipelineEngine[tuple[float, ...], int]):
    """This library's side of it; `size`: rows of a call, None for a step of one."""

    source = "stream"

    def __init__(self, size: int | None = None) -> None:
        from benchmarks.works import models

        self.steps = [apply(models.predict_one) if size is None else vectorize(models.predict, size)]


def ours(records: int, size: int | None = None) -> Done:
    """`frame.stream(P)` with a plain generator; the consumer looks at each class."""
    return asyncio.run(_ours(records, size))


async def _ours(records: int, size: int | None) -> Done:
    from benchmarks.works import models

    async with PipeFrame(cpu_count=WORKERS).stream(Predicted(size), models.feed(records)) as stream:
        return models.look([found async for found in stream])


def pooled(peer: line_up.Peer, records: int, size: int) -> Done:
    """A pool, its chunks cut by hand."""
    from benchmarks.works import models

    return models.look(chain.from_iterable(peer.drive(models.predict, Chunks(models.feed, records, size))))


def plain(records: int, size: int) -> Done:
    """One loop in one process: nothing travels."""
    from benchmarks.works import models

    return models.look(chain.from_iterable(map(models.predict, Chunks(models.feed, records, size))))


def contestants(*, quick: bool) -> list[Contestant]:
    """Who takes part."""
    from benchmarks.works.models import expected

    def with_sizes(key: str, label: str, run: partial[Done], kind: str, **more: Any) -> Contestant:
        return Contestant(
            key, label, RECORDS, run, expected, kind=kind, form="results", choices=SIZES, knob="rows a call", **more
        )

    def pool(peer: line_up.Peer) -> Contestant:
        kind, found = ("peer", version(peer.package)) if peer.package else ("pool", "")
        return with_sizes(peer.key, f"{peer.label}, chunked", partial(pooled, peer), kind, version=found)

    peers = [peer for peer in (*line_up.STANDARD, *line_up.THIRD_PARTY) if peer.key in KEYS and peer.is_there]
    found = [
        with_sizes("ours", "ours, vectorize", partial(ours), "ours"),
        *map(pool, peers),
        replace(with_sizes("plain", "a plain loop, one process", partial(plain), "plain"), records=PLAIN_RECORDS),
        Contestant("ours_one_by_one", "ours, a step for each row", ONE_BY_ONE, ours, expected, form="results"),
    ]
    return [replace(c, records=QUICK_RECORDS, choices=c.choices[:1]) for c in found] if quick else found


def ratios(timings: Sequence[Timing]) -> list[rates.Ratio]:
    """Ours against each other contestant."""
    mine = next(timing for timing in timings if timing.contestant.ours)
    return [
        rates.Ratio(
            mine.contestant.key,
            other.contestant.key,
            f"{mine.contestant.label} / {other.contestant.label}",
            mine.rate / other.rate,
            mine.steady_rate / other.steady_rate,
        )
        for other in timings
        if other is not mine
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    if find_spec("sklearn") is None:
        raise SystemExit("models need scikit-learn: pip install scikit-learn")
    timings = interleaved(contestants(quick=question.quick), question.repeats, question.say, 1)
    text = f"{rates.table(timings)}\n\n{rates.list_of(ratios(timings))}{left_out(KEYS)}"
    question.answer(
        TITLE,
        text,
        {
            "contestants": [timing.as_json() for timing in timings],
            "ratios": rates.ratios(timings),
            "ratios_that_matter": [asdict(ratio) for ratio in ratios(timings)],
        },
        draw,
    )


def draw(found: dict[str, Any], file: Path) -> None:
    """One bar a contestant."""
    rows = [
        Bar(row["label"], row["ours"], row["rate"], row["rate"], f"{row['rate']:,.0f}") for row in found["contestants"]
    ]
    bars(found, rows, "rows per second, start and end of the workers included", file)


if __name__ == "__main__":
    main()
