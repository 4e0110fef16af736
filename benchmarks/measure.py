"""Fair comparisons: contestants take turns, each repeat is checked, medians count, and the machine is named.

Nothing here knows what is measured. Times are seconds of the whole call, start and end of workers included;
how long the same call takes for one record tells how much of it was start and end.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.work import Done, expected


class WrongWork(Exception):
    """A contestant has not done what it was given; its time is worth nothing."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do the work.

    Attributes:
        key: its name in files and ratios.
        label: its name for people.
        records: how many it gets: so many that a repeat takes a second or more, since rates are compared.
        run: does the work on that many records; with one more argument where there are `choices`.
        ours: whether it is this library.
        choices: values of a knob that its user would find by trying; the best one is taken.
        knob: what the choices are.
    """

    key: str
    label: str
    records: int
    run: Callable[..., Done]
    ours: bool = False
    choices: tuple[int, ...] = ()
    knob: str = ""


@dataclass(slots=True)
class Timing:
    """What was measured of one contestant: `seconds` and `start_seconds` one a repeat, `done` in the last one."""

    contestant: Contestant
    done: Done
    choice: int | None = None
    swept: dict[int, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    start_seconds: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Records per second of each repeat, from the slowest to the fastest."""
        return sorted(self.contestant.records / seconds for seconds in self.seconds)

    @property
    def rate(self) -> float:
        """Records per second, median of the repeats."""
        return median(self.rates)

    @property
    def start(self) -> float:
        """Seconds that one record takes, median of the repeats: the cost of starting and ending."""
        return median(self.start_seconds)

    @property
    def steady_rate(self) -> float:
        """Records per second once started: what is left when the start is taken off."""
        return (self.contestant.records - 1) / max(1e-9, median(self.seconds) - self.start)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        c = self.contestant
        return {
            "key": c.key,
            "label": c.label,
            "ours": c.ours,
            "records": c.records,
            "records_checked": self.done.records,
            "checksum": self.done.checksum,
            "checksum_expected": expected(c.records).checksum,
            "knob": c.knob,
            "choice": self.choice,
            "swept": {str(choice): round(rate, 1) for choice, rate in self.swept.items()},
            "seconds": self.seconds,
            "start_seconds": self.start_seconds,
            "rate": self.rate,
            "rate_min": self.rates[0],
            "rate_max": self.rates[-1],
            "start": self.start,
            "steady_rate": self.steady_rate,
        }


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were measured on."""

    cpus: int
    usable_cpus: int
    python: str
    platform: str
    cores_busy_before: float | None

    @classmethod
    def here(cls) -> Machine:
        """This machine, as it is now; `cores_busy_before` is what others use of it, None where that is not told."""
        cpus = os.cpu_count() or 1
        return cls(
            cpus=cpus,
            usable_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            platform=f"{platform.system()} {platform.machine()}",
            cores_busy_before=_cores_busy(),
        )

    @property
    def busy(self) -> bool:
        """Whether others were at work here: then even ratios are worth little."""
        return self.cores_busy_before is not None and self.cores_busy_before > 0.2

    def __str__(self) -> str:
        others = "" if self.cores_busy_before is None else f", {self.cores_busy_before:.2f} cores busy before"
        return f"{self.usable_cpus} of {self.cpus} CPUs, {self.python}, {self.platform}{others}"

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def _cores_busy() -> float | None:
    """Cores in use over half a second. A load average would tell of the last minute, our own work included."""
    first = _jiffies()
    time.sleep(0.5)
    second = _jiffies()
    if first is None or second is None:
        return None
    idle, total = second[0] - first[0], second[1] - first[1]
    return round((os.cpu_count() or 1) * (1 - idle / total), 2) if total else None


def _jiffies() -> tuple[int, int] | None:
    """Idle time and all time of all CPUs so far; None on systems that do not tell."""
    try:
        spent = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return None
    return spent[3] + spent[4], sum(spent)


def interleaved(
    contestants: Sequence[Contestant], repeats: int, say: Callable[[str], None] = lambda line: None
) -> list[Timing]:
    """Time all contestants, `repeats` times each, in turns, so that a slow minute of the machine hits them all.

    Args:
        contestants: who takes part.
        repeats: how often; medians need three or more.
        say: is told what goes on.

    Returns:
        A timing each, in the order given.

    Raises:
        WrongWork: somebody has lost, doubled or changed a record.
    """
    timings = [Timing(contestant, expected(0)) for contestant in contestants]
    for timing in timings:
        _tune(timing, say)
    for repeat in range(repeats):
        say(f"repeat {repeat + 1} of {repeats}")
        turn = repeat % len(timings)
        for timing in [*timings[turn:], *timings[:turn]]:
            timing.start_seconds.append(_timed(timing, 1))
            timing.seconds.append(_timed(timing, timing.contestant.records))
    return timings


def _tune(timing: Timing, say: Callable[[str], None]) -> None:
    """Find the best choice by trying each once, a warm-up before; for those without choices only the warm-up."""
    contestant = timing.contestant
    timing.choice = contestant.choices[0] if contestant.choices else None
    _timed(timing, 1)
    for timing.choice in contestant.choices:
        timing.swept[timing.choice] = contestant.records / _timed(timing, contestant.records)
    if timing.swept:
        timing.choice = max(timing.swept, key=lambda choice: timing.swept[choice])
        say(f"{contestant.label}: best {contestant.knob} of {list(timing.swept)} is {timing.choice}")


def _timed(timing: Timing, records: int) -> float:
    """Seconds of one call, which is checked."""
    gc.collect()  # nobody pays for the garbage of the one before
    more = () if timing.choice is None else (timing.choice,)
    started = time.perf_counter()
    timing.done = timing.contestant.run(records, *more)
    spent = time.perf_counter() - started
    if timing.done != expected(records):
        raise WrongWork(f"{timing.contestant.label}: {timing.done}, expected {expected(records)}")
    return spent
