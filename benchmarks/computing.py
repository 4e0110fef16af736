"""Are all cores at work, when a record is 200 µs of pure CPU?

    python -m benchmarks.computing [--quick] [--repeats N] [--only KEY …] [--json FILE] [--plot FILE]

Here nobody can be faster than two plain loops side by side; what is missing to that is wasted.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import line_up
from benchmarks.ask import ask
from benchmarks.measure import Contestant
from benchmarks.work_cpu import even_work

QUESTION = "computing"
CHUNK_SIZES = (5, 20, 100, 500)


def contestants(quick: bool) -> tuple[str, list[Contestant]]:
    """Who takes part."""
    work = even_work()
    return work.title, [
        *line_up.of_ours(work),
        *line_up.of_pools(work, CHUNK_SIZES, forms=("counts",)),
        *line_up.of_plain(work),
        *line_up.of_hops(work),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    ask(QUESTION, __doc__, contestants, argv)


if __name__ == "__main__":
    main()
