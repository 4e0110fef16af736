"""What does it cost to take large arrays to a worker, and back?

    python -m benchmarks.arrays [--quick] [--repeats N] [--only KEY …] [--json FILE] [--plot FILE]

Arrays of 1 MiB in; a float out of each, or an array. The work takes a fraction of a millisecond, so that what is
measured is how the bytes travel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import chain

from benchmarks import line_up
from benchmarks.ask import ask
from benchmarks.measure import Contestant
from benchmarks.peers import WORKERS
from benchmarks.work_arrays import WORKS, ArrayWork, feed, looked
from benchmarks.workload import Chunks, Done, all_through
from pipeframe_async import PipeFrame, PipelineEngine

QUESTION = "arrays"
TITLE = "Arrays of 1 MiB per second"
CHUNK_SIZES = (1, 2, 4)
KEYS = ("executor", "executor_map", "pool", "loky", "mpire", "joblib")
FEWEST = 8
"""Arrays of a quick run: each worker gets some."""


class OneStep(PipelineEngine[object, object]):
    """This library's side of it."""

    source = "stream"

    def __init__(self, work: ArrayWork) -> None:
        self.steps = [work.step]


def ours(work: ArrayWork, records: int) -> Done:
    """`frame.stream(P)` with a plain generator; the consumer looks at all of each result."""
    return asyncio.run(_ours(work, records))


async def _ours(work: ArrayWork, records: int) -> Done:
    weights = []
    async with PipeFrame(cpu_count=WORKERS).stream(OneStep(work), feed(records)) as stream:
        async for result in stream:
            weights.append(work.weigh(result))  # noqa: PERF401 - each result is looked at when it comes, and let go
    return looked(weights)


def plain(work: ArrayWork, records: int) -> Done:
    """One loop in one process: nothing travels."""
    return work.look(map(work.through, feed(records)))


def pooled(peer: line_up.Peer, work: ArrayWork, records: int, size: int) -> Done:
    """A pool, its chunks cut by hand or by itself."""
    if peer.cuts:
        return work.look(peer.drive(work.through, Chunks(feed, records, size)))
    chunks = peer.drive(partial(all_through, work.through), Chunks(feed, records, size))
    return work.look(chain.from_iterable(chunks))


def contestants(quick: bool) -> tuple[str, list[Contestant]]:
    """Who takes part, in both forms."""
    found = [contestant for work in WORKS for contestant in _of(work)]
    return TITLE, [replace(c, records=FEWEST) for c in found] if quick else found


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
        *map(pool, peers),
        alone("plain", "a plain loop, one process", work.plain_records, partial(plain, work), "plain"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    ask(QUESTION, __doc__, contestants, argv)


if __name__ == "__main__":
    main()
