"""A record with a fault on it, on its way to a worker, and the step that lets the fault happen there.

Workers import this module: it knows nothing of feeds, frames and the loop.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from pipeframe_async.errors import StateError

FaultName = Literal["kill", "hang", "raising", "unpicklable", "slow", "oom", "sink_error", "feed_error"]

NAP: Final = 1000.0
"""Seconds a hanging step sleeps at a time; it sleeps for ever."""

MOST_MEBIBYTES: Final = 1024
"""What `oom` may take. More would have the machine choose whom to kill, and that may be the test."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one record; made by `kill`, `hang` and their like.

    Attributes:
        name: which of them it is.
        at: the record's position in the feed, from 0.
        times: how often it happens; None: whenever somebody is at the record.
        seconds: that a slow step takes.
        error: what is raised.
        mebibytes: taken before the worker is killed.
    """

    name: FaultName
    at: int
    times: int | None = None
    seconds: float = 0.0
    error: BaseException | None = None
    mebibytes: int = 0

    def __str__(self) -> str:
        return f"{self.name}(at={self.at})"


@dataclass(frozen=True, slots=True)
class Placed:
    """A fault, and the file that has a byte for each time it has happened: that survives the worker."""

    fault: Fault
    tally: str

    @property
    def happened(self) -> int:
        """How often."""
        file = Path(self.tally)
        return file.stat().st_size if file.exists() else 0

    def falls_due(self) -> bool:
        """Whether it happens now; then it is noted before it does."""
        if self.fault.times is not None and self.happened >= self.fault.times:
            return False
        with open(self.tally, "ab") as file:
            file.write(b".")
        return True


class Marked:
    """A record with its faults. It is pickled as any record, unless that is what is wrong with it."""

    __slots__ = ("placed", "record")

    def __init__(self, record: Any, placed: tuple[Placed, ...]) -> None:
        self.record = record
        self.placed = placed

    def __reduce__(self) -> tuple[object, ...]:
        for one in self.placed:
            if one.fault.name == "unpicklable" and one.falls_due():
                raise pickle.PicklingError(f"{one.fault}, as the test wants it")
        return Marked, (self.record, self.placed)

    def __repr__(self) -> str:
        return repr(self.record)


def bare(record: Any) -> Any:
    """The record, without the faults it has."""
    return record.record if type(record) is Marked else record


class Meets:
    """The step in front of all others: where a record has faults they happen, and it goes on without them."""

    __slots__ = ("__name__", "_home")

    def __init__(self, name: str, home: int) -> None:
        self.__name__ = name
        self._home = home  # the process that must not be killed

    def __reduce__(self) -> tuple[object, ...]:
        return Meets, (self.__name__, self._home)

    def __call__(self, record: Any) -> tuple[Any, bool]:
        """Let what is due happen."""
        if type(record) is not Marked:
            return record, True
        for one in record.placed:
            if one.fault.name != "unpicklable" and one.falls_due():
                _happens(one.fault, at_home=os.getpid() == self._home)
        return record.record, True


class Decodes:
    """A source's `decode`, which sees the record and not its faults."""

    __slots__ = ("_decode",)

    def __init__(self, decode: Any) -> None:
        self._decode = decode

    def __reduce__(self) -> tuple[object, ...]:
        return Decodes, (self._decode,)

    def __call__(self, raw: Any) -> Any:
        """Of the record that is in it, where it has faults."""
        return Marked(self._decode(raw.record), raw.placed) if type(raw) is Marked else self._decode(raw)


def _happens(fault: Fault, *, at_home: bool) -> None:
    if fault.name == "slow":
        time.sleep(fault.seconds)
    elif fault.name == "raising":
        assert fault.error is not None
        raise fault.error
    elif at_home:
        raise StateError(f"{fault} would end the program that runs the test: run it with executor='processes'")
    elif fault.name == "hang":
        while True:
            time.sleep(NAP)
    else:
        _dies(fault.mebibytes)


def _dies(mebibytes: int) -> NoReturn:
    """Take so much memory, written to so that it is there, and be killed as from outside."""
    taken = bytearray(b"x") * (mebibytes * 2**20)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    while taken:
        time.sleep(NAP)
    raise AssertionError("a signal that cannot be caught was")
