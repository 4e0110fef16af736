"""Steps that log, as workers import them, and what takes their lines in the program."""

from __future__ import annotations

import logging
import time
from typing import Any

from benchmarks.works import trivial

LOGGER = "benchmarks.observed"
LINES = 100
TURN = 0.01
"""Seconds of a record that logs so many lines: 10,000 a second."""
log = logging.getLogger(LOGGER)


def unwanted(record: int) -> tuple[int, bool]:
    """The first trivial step, with a line that nobody wants."""
    log.debug("record %d", record)
    return record + 1, True


def now_and_then(record: int) -> tuple[int, bool]:
    """The same with a line for each thousandth."""
    if record % 1_000 == 0:
        log.info("record %d", record)
    return record + 1, True


QUIET = trivial.STEPS
BELOW = (unwanted, *trivial.STEPS[1:])
SPARSE = (now_and_then, *trivial.STEPS[1:])


def waits(record: int) -> tuple[int, bool]:
    """Takes its turn, and logs nothing."""
    time.sleep(TURN)
    return record, True


def logs(record: int) -> tuple[int, bool]:
    """Takes its turn, with its lines at the beginning."""
    until = time.perf_counter() + TURN
    for number in range(LINES):
        log.info("line %d of record %d", number, record)
    time.sleep(max(0.0, until - time.perf_counter()))
    return record, True


class Takes(logging.Handler):
    """Formats each line as programs do, and looks whether they come in order."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        self.lines = self.disorder = 0
        self._last: dict[Any, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """A line has come."""
        self.format(record)
        self.lines += 1
        self.disorder += record.created < self._last.get(record.process, 0.0)
        self._last[record.process] = record.created
