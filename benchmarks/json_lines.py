"""How many JSON lines go through: loaded, changed and dumped?

    python -m benchmarks.json_lines [--quick] [--repeats N] [--only KEY …] [--json FILE] [--plot FILE]

The everyday case: a few microseconds of work a record, and as much for the way there and back.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import line_up
from benchmarks.ask import ask
from benchmarks.measure import Contestant
from benchmarks.work_lines import LINES

QUESTION = "json_lines"
CHUNK_SIZES = (100, 400, 1_600, 6_400)


def contestants(quick: bool) -> tuple[str, list[Contestant]]:
    """Who takes part."""
    return LINES.title, [
        *line_up.of_ours(LINES),
        *line_up.of_pools(LINES, CHUNK_SIZES),
        *line_up.of_plain(LINES),
        *line_up.of_original(LINES, 0.2 if quick else line_up.IDLE_TIMEOUT),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    ask(QUESTION, __doc__, contestants, argv)


if __name__ == "__main__":
    main()
