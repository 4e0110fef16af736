"""The faults of the torture table: steps that do nothing to a good record and something terrible to the bad one.

Workers of every contestant import this module, so it imports nothing of ours and nothing of theirs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Step = Callable[[int], object]
"""What a worker does with one record."""
Outcome = tuple[object, Exception | None]
"""What `attempt` made of one record: a result, or the exception instead of one."""

BAD = -1
"""The bad record; the good ones are 0, 1, …"""
FOR_EVER = 3_600.0
"""Seconds a hung step sleeps: longer than anybody waits."""
WORK = 0.001
"""Seconds a record takes. Less, and where the others are when the bad one strikes is a matter of chance."""
SLOW_WORK = 0.005
"""Seconds a record takes where the script gets a signal, so that it comes while everybody is at work."""


def kill(record: int) -> int:
    """The bad record's worker dies as if the kernel had run out of memory."""
    if record == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return _worked(record)


def fail(record: int) -> int:
    """The bad record raises."""
    if record == BAD:
        raise ValueError("a bad record")
    return _worked(record)


def hang(record: int) -> int:
    """The bad record never comes back."""
    if record == BAD:
        time.sleep(FOR_EVER)
    return _worked(record)


def keep_a_lock(record: int) -> object:
    """The bad record's result cannot be pickled, by no pickler; a lambda can by some."""
    return threading.Lock() if record == BAD else _worked(record)


def be_slow(record: int) -> int:
    """Every record takes a while, and none is bad."""
    return _worked(record, SLOW_WORK)


def _worked(record: int, seconds: float = WORK) -> int:
    time.sleep(seconds)
    return record


def attempt(step: Step, record: int) -> Outcome:
    """One record, whose exception becomes a value."""
    try:
        return step(record), None
    except Exception as error:
        return None, error


def each(step: Step, records: Iterable[int]) -> list[Outcome]:
    """A batch cut by hand, as one who has been burnt writes it: a record that raises costs no other one."""
    return [attempt(step, record) for record in records]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        key: its name in files.
        label: its name for people.
        step: what workers run.
        signal: what the whole script gets while it is at work; then no record is bad.
    """

    key: str
    label: str
    step: Step
    signal: signal.Signals | None = None


FAULTS = {
    fault.key: fault
    for fault in (
        Fault("kill", "kills its worker", kill),
        Fault("raise", "raises", fail),
        Fault("hang", "hangs", hang),
        Fault("unpicklable", "unpicklable result", keep_a_lock),
        Fault("sigterm", "SIGTERM to the script", be_slow, signal.SIGTERM),
        Fault("sigkill", "SIGKILL to the script", be_slow, signal.SIGKILL),
    )
}
