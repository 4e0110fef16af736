"""One cell of the torture table, in a process of its own: one contestant, one fault. Started by `cage.py`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from benchmarks.torturing.contestants import CONTESTANTS
from benchmarks.torturing.faults import FAULTS
from benchmarks.torturing.job import Job


class Ear(logging.Handler):
    """Hears what the library logs as an error; its own handlers hear it too."""

    def __init__(self, job: Job) -> None:
        super().__init__(logging.ERROR)
        self.job = job

    def emit(self, record: logging.LogRecord) -> None:
        """An error was logged."""
        self.job.logged()


def main() -> None:
    """Do the work, say what became of it, and end like any script; if it can."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torturing.cell", description=__doc__)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("records", type=int)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("log", type=Path)
    options = parser.parse_args()
    with Job(FAULTS[options.fault], options.records, options.batch_size, options.log) as job:
        logging.getLogger().addHandler(Ear(job))
        try:
            CONTESTANTS[options.contestant].do(job)
        except Exception as error:
            job.raised(error)


if __name__ == "__main__":
    main()
