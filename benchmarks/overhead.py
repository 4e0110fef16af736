"""What does the engine cost per record, when the steps cost next to nothing?

    python -m benchmarks.overhead [--quick] [--repeats N] [--only KEY …] [--json FILE] [--plot FILE]

Ours against what is written today (a hop per record), what a good engineer writes (a pool with chunks sized
by hand), the design that this library follows (a queue hop per record), and a plain loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import line_up
from benchmarks.ask import ask
from benchmarks.measure import Contestant
from benchmarks.work import TRIVIAL

QUESTION = "overhead"
CHUNK_SIZES = (1_000, 4_000, 16_000, 64_000)


def contestants(quick: bool) -> tuple[str, list[Contestant]]:
    """Who takes part."""
    return TRIVIAL.title, [
        *line_up.of_ours(TRIVIAL),
        *line_up.of_pools(TRIVIAL, CHUNK_SIZES),
        *line_up.of_plain(TRIVIAL),
        *line_up.of_original(TRIVIAL, 0.2 if quick else line_up.IDLE_TIMEOUT),
        *line_up.of_hops(TRIVIAL),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    ask(QUESTION, __doc__, contestants, argv)


if __name__ == "__main__":
    main()
