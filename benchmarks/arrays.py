"""What does it cost to take large arrays to a worker, and back?

    python -m benchmarks.arrays [--quick] [--repeats N] [--json FILE] [--plot FILE]

Arrays of 1 MiB in; a float out of each, or an array. The work takes a fraction of a millisecond, so that what is
measured is how the bytes travel.
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
from typing import TYPE_CHECKING, Any

from benchmarks.asking import rates
from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.measure import Timing, interleaved
from benchmarks.asking.question import asked, left_out
from benchmarks.contestants import line_up
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.peers import WORKERS
from benchmarks.works.workload import Chunks, Done, all_through
from pipeframe_async import PipeFrame, PipelineEngine

if TYPE_CHECKING:  # it needs numpy, and this module shall import without
    from benchmarks.works.arrays import ArrayWork

QUESTION = "arrays"
REPEATS = 3
TITLE = "Arrays of 1 MiB per second"
CHUNK_SIZES = (1, 2, 4)
KEYS = ("executor", "executor_map", "pool", "loky", "mpire", "joblib")
PLACES = ("threads", "inline", "auto")
"""Where else this library runs steps: in this process, or there where it pays."""
FEWEST = 8
"""Arrays of a quick run: each worker gets some."""


class OneStep(PipelineEngine[object, object]):
    """This library's side of it."""

    source = "stream"

    def __init__(self, work: ArrayWork) -> None:
        self.steps = [work.step]


def ours(work: ArrayWork, records: int, executor: str | None = None) -> Done:
    """`frame.stream(P)` with a plain generator; the consumer looks at all of each result."""
    return asyncio.run(_ours(work, records, executor))


async def _ours(work: ArrayWork, records: int, executor: str | None) -> Done:
    from benchmarks.works.arrays import feed, looked

    weights = []
    async with PipeFrame(cpu_count=WORKERS, executor=executor).stream(OneStep(work), feed(records)) as stream:
        async for result in stream:
            weights.append(work.weigh(result))
    return looked(weights)


def plain(work: ArrayWork, records: int) -> Done:
    """One loop in one process: nothing travels."""
    from benchmarks.works.arrays import feed

    return work.look(map(work.through, feed(records)))


def pooled(peer: line_up.Peer, work: ArrayWork, records: int, size: int) -> Done:
    """A pool, its chunks cut by hand or by itself."""
    from benchmarks.works.arrays import feed

    if peer.cuts:
        return work.look(peer.drive(work.through, Chunks(feed, records, size)))
    chunks = peer.drive(partial(all_through, work.through), Chunks(feed, records, size))
    return work.look(chain.from_iterable(chunks))


def contestants(*, quick: bool) -> list[Contestant]:
    """Who takes part, in both forms."""
    from benchmarks.works.arrays import WORKS

    found = [contestant for work in WORKS for contestant in _of(work)]
    return [replace(c, records=FEWEST, choices=c.choices[1:2]) for c in found] if quick else found


def _of(work: ArrayWork) -> list[Contestant]:
    def alone(key: str, label: str, records: int, run: partial[Done], kind: str) -> Contestant:
        return Contestant(
            f"{key}_{work.key}", f"{label}, {work.label}", records, run, work.expected, kind=kind, form=work.key
        )

    def pool(peer: line_up.Peer) -> Contestant:
        kind = "peer" if peer.package else "pool"
        contestant = alone(peer.key, peer.label, work.peers_records, partial(pooled, peer, work), kind)
        return replace(
            contestant,
            keeps_order=peer.keeps_order,
            choices=CHUNK_SIZES,
            knob="chunk size",
            version=version(peer.package) if peer.package else "",
        )

    peers = [peer for peer in (*line_up.STANDARD, *line_up.THIRD_PARTY) if peer.key in KEYS and peer.is_there]
    return [
        alone("ours", "ours", work.our_records, partial(ours, work), "ours"),
        *(
            alone(
                place,
                f'ours, executor="{place}"',
                work.plain_records // 2,
                partial(ours, work, executor=place),
                "place",
            )
            for place in PLACES
        ),
        *map(pool, peers),
        alone("plain", "a plain loop, one process", work.plain_records, partial(plain, work), "plain"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    if find_spec("numpy") is None:
        raise SystemExit("arrays need numpy: pip install numpy")
    sweeps = 1 if question.quick else 2
    timings = interleaved(contestants(quick=question.quick), question.repeats, question.say, sweeps)
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


def ratios(timings: Sequence[Timing]) -> list[rates.Ratio]:
    """Ours against each other contestant of the same form."""
    mine = {t.contestant.form: t for t in timings if t.contestant.ours}
    return [
        rates.Ratio(
            (over := mine[t.contestant.form]).contestant.key,
            t.contestant.key,
            f"ours / {t.contestant.label}",
            over.rate / t.rate,
            over.steady_rate / t.steady_rate,
        )
        for t in timings
        if not t.contestant.ours
    ]


def draw(found: dict[str, Any], file: Path) -> None:
    """One bar a contestant and form."""
    rows = [
        Bar(row["label"], row["ours"], row["rate"], row["rate"], f"{row['rate']:,.0f}") for row in found["contestants"]
    ]
    bars(found, rows, "arrays per second, start and end of the workers included", file)


if __name__ == "__main__":
    main()
