"""What do a few records cost the others, when they are a thousand times dearer?

    python -m benchmarks.skewed [--quick] [--repeats N] [--only KEY …] [--json FILE] [--plot FILE]

One record in a hundred takes 20 ms, the rest 20 µs. Large chunks leave a core idle at the end, small ones pay for
hops, and whoever keeps the order waits for the dear ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import line_up
from benchmarks.ask import ask
from benchmarks.measure import Contestant
from benchmarks.work_cpu import skewed_work

QUESTION = "skewed"
CHUNK_SIZES = (1, 4, 16, 64, 256)


def contestants(quick: bool) -> tuple[str, list[Contestant]]:
    """Who takes part."""
    work = skewed_work()
    return work.title, [
        *line_up.of_ours(work),
        *line_up.of_pools(work, CHUNK_SIZES, forms=("counts",)),
        *line_up.of_plain(work),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    ask(QUESTION, __doc__, contestants, argv)


if __name__ == "__main__":
    main()
