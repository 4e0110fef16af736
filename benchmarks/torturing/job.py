"""What a contestant of the torture table is given, and the log that survives it.

The log is written with one system call a line, and read by another process after the script has ended, however
it ended: what has been delivered by then is there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.torturing.faults import BAD, Fault, Outcome, Step, each

WORKERS = 2
TIME_LIMIT = 1.0
"""Seconds for a record, or for a batch where a library has its limit there: both take milliseconds."""
PATIENCE = 5.0
"""Seconds without a result after which one gives up, where a library counts from when it was asked, so that the
start of its workers is in it."""


class Job:
    """The work, and where to say what became of it; leave it as a context manager to close the log.

    Attributes:
        records: what is to be done; the bad one is in the middle.
        batch_size: records a batch, where there are batches.
        step: what to do with each.
    """

    def __init__(self, fault: Fault, records: int, batch_size: int, log: Path) -> None:
        self.records = list(range(records))
        if fault.signal is None:
            self.records[records // 2] = BAD
        self.batch_size = batch_size
        self.step: Step = fault.step
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._log)

    def batches(self) -> Iterator[list[int]]:
        """The records in batches."""
        for start in range(0, len(self.records), self.batch_size):
            yield self.records[start : start + self.batch_size]

    def deliver(self, result: object) -> None:
        """A result has come out."""
        self._say("delivered", result)

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """A batch of `each` has come out."""
        for result, error in outcomes:
            if error is None:
                self.deliver(result)
            else:
                self.failed(error)

    def collect(self, pool: Executor) -> None:
        """Give batches cut by hand to an executor and take what comes, whatever becomes of single batches."""
        futures = [pool.submit(each, self.step, batch) for batch in self.batches()]
        for future in as_completed(futures):
            self.settle(future)

    def settle(self, future: Future[list[Outcome]]) -> None:
        """Take the outcomes of one future, or its error."""
        try:
            outcomes = future.result()
        except Exception as error:
            self.failed(error)
        else:
            self.take(outcomes)

    def failed(self, error: BaseException | str) -> None:
        """The library has reported that a record or a batch failed, and goes on."""
        self._say("failed", _name(error))

    def raised(self, error: BaseException) -> None:
        """The call as a whole has raised."""
        self._say("raised", _name(error))

    def logged(self) -> None:
        """The library has logged an error."""
        self._say("logged", "an error")

    def _say(self, word: str, what: object) -> None:
        os.write(self._log, f"{word} {what}\n".encode())


@dataclass(frozen=True, slots=True)
class Told:
    """What a log says.

    Attributes:
        delivered: how often each good record was.
        failed: reports of records or batches that failed, by type.
        raised: what the call as a whole raised.
        logged: errors logged.
    """

    delivered: Counter[int] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    logged: int = 0

    @classmethod
    def in_log(cls, log: Path) -> Told:
        """Read it; one that was never begun tells of nothing. A line cut short by a death is left out."""
        text = log.read_text() if log.exists() else ""
        said = [line.split(" ", 1) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        whole = [(word, what.strip()) for word, what in said]
        return cls(
            delivered=Counter(int(what) for word, what in whole if word == "delivered"),
            failed=Counter(what for word, what in whole if word == "failed"),
            raised=Counter(what for word, what in whole if word == "raised"),
            logged=sum(word == "logged" for word, _ in whole),
        )

    @property
    def words(self) -> list[str]:
        """What its author was told."""
        reports = [f"{count} × {name}" for name, count in self.failed.items()]
        return [
            *reports,
            *(f"{name} raised" for name in self.raised),
            *([f"{self.logged} logged"] if self.logged else []),
        ]


def _name(error: BaseException | str) -> str:
    return error if isinstance(error, str) else type(error).__name__
