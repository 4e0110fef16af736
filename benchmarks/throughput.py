"""How many records a second go through, start and end of the workers included?

    python -m benchmarks.throughput [--work NAME …] [--quick] [--repeats N] [--only KEY …] [--json FILE] [--plot FILE]

Asked of each kind of work in the table below: ours against what a good engineer writes (a pool with chunks sized by
hand), the other libraries, a plain loop, and, where they tell something, the design that this library follows (a queue
hop per record) and what is written today (a hop per record). A picture is of one work and has its name in its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.asking.each_work import ask
from benchmarks.contestants import line_up
from benchmarks.contestants.contestant import Contestant
from benchmarks.works.cpu import even_work, skewed_work
from benchmarks.works.lines import LINES
from benchmarks.works.trivial import TRIVIAL
from benchmarks.works.workload import Workload

QUESTION = "throughput"
QUICK_IDLE_TIMEOUT = 0.2
"""Seconds; of the original's design, where only whether it runs is asked."""


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work, and who takes part in it.

    Attributes:
        workload: makes it; where it is a time of CPU, by finding out how many rounds take that long here and now.
        sizes: of a chunk, tried for each pool.
        forms: those of the other libraries' pools; the standard library's take part in both.
        original: whether the design that this library follows does.
        hop: whether a hop per record does.
    """

    workload: Callable[[], Workload]
    sizes: tuple[int, ...]
    forms: tuple[str, ...] = ("counts", "results")
    original: bool = False
    hop: bool = False

    def contestants(self, quick: bool) -> tuple[str, list[Contestant]]:
        """A title for the picture, and who takes part."""
        work = self.workload()
        idle_timeout = QUICK_IDLE_TIMEOUT if quick else line_up.IDLE_TIMEOUT
        return work.title, [
            *line_up.of_ours(work),
            *line_up.of_pools(work, self.sizes, self.forms),
            *line_up.of_plain(work),
            *(line_up.of_original(work, idle_timeout) if self.original else []),
            *(line_up.of_hops(work) if self.hop else []),
        ]


WORKS = {
    # Next to nothing on small ints: what the way to the steps and back costs a record.
    "trivial": Work(lambda: TRIVIAL, (1_000, 4_000, 16_000, 64_000), original=True, hop=True),
    # The everyday case: a few microseconds of work a record, and as much for the way there and back.
    "json_lines": Work(lambda: LINES, (100, 400, 1_600, 6_400), original=True),
    # 200 µs of pure CPU. Nobody can be faster than two plain loops side by side; what is missing to that is wasted.
    "computing": Work(even_work, (5, 20, 100, 500), forms=("counts",), hop=True),
    # One record in a hundred takes 20 ms, the rest 20 µs. Large chunks leave a core idle at the end, small ones pay
    # for hops, and whoever keeps the order waits for the dear ones.
    "skewed": Work(skewed_work, (1, 4, 16, 64, 256), forms=("counts",)),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    ask(QUESTION, __doc__, {name: work.contestants for name, work in WORKS.items()}, argv)


if __name__ == "__main__":
    main()
