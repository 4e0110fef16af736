"""`python -m tests.soak.jobs`: jobs killed 2,000 times, in each order, with all that may happen to a record.

Each job is run undisturbed, then killed as a whole process group at random moments until it has come to its end, then
compared: in feed order byte for byte, else line for line; books over all lives; each dead letter once. Exit code 1: not
all is well. `tests/process/test_killed.py` does the same with a few kills.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.process import killed

JOBS = (killed.InOrder, killed.AsTheyAreDone, killed.ByKey, killed.OnTheLoopToo)


@dataclass
class Tally:
    """What came of one kind of job. `again`: records that had been fed and were not saved, kill by kill."""

    kills: int = 0
    lives: int = 0
    jobs: int = 0
    again: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        again = f"{median(self.again):,.0f} (at most {max(self.again):,})" if self.again else "none"
        return (
            f"{self.kills:,} kills in {self.jobs:,} jobs of {self.lives:,} lives; fed and not saved at a kill, in "
            f"records: {again}; {len(self.problems)} not well"
        )


def one(job: Any, kills: int, seed: int, records: int, tally: Tally) -> None:
    """One job, killed so often if it does not come to its end before."""
    from pipeframe_async.testing import crash_and_resume  # when how many records there are is in the environment
    from tests.process.test_killed import all_of_them, dead_records

    with tempfile.TemporaryDirectory() as folder:
        try:
            crashes = crash_and_resume(job, kills, every_life=(0.1, 0.6), directory=folder, seed=seed, cpu_count=2)
            if dead_records(Path(folder)) != all_of_them(records):
                raise AssertionError("its dead letters are not each there once")
        except AssertionError as error:
            tally.problems.append(f"{job.__name__}, seed {seed}: {error}")
            return
    tally.jobs += 1
    tally.kills += crashes.kills
    tally.lives += len(crashes.lives)
    tally.again += [life.fed - life.saved for life in crashes.lives if life.killed and life.fed]


def main() -> int:
    """Kill, compare, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.jobs", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=2_000, help="in all, shared out among the kinds of jobs")
    parser.add_argument("--records", type=int, default=100_000, help="of each job")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["PIPEFRAME_TEST_KILLS_RECORDS"] = str(given.records)
    tallies = {job: Tally() for job in JOBS}
    started = time.monotonic()
    for job, tally in tallies.items():
        seed = given.seed
        while tally.kills < given.kills / len(JOBS) and len(tally.problems) < 3:
            one(job, max(1, given.kills // len(JOBS) - tally.kills), seed, given.records, tally)
            seed += 1
            print(f"{time.monotonic() - started:6.0f} s  {job.__name__}: {tally}", flush=True)
    problems = [problem for tally in tallies.values() for problem in tally.problems]
    print("\n".join(problems) or f"all is well, after {sum(tally.kills for tally in tallies.values()):,} kills")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
