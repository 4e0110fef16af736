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

from benchmarks.contestants.contestant import Contestant
from benchmarks.works.workload import Done
from pipeframe_async.gil import gil_enabled

SWEPT_PART = 4
"""A knob is tried on a fourth of the records. On fewer, large chunks end unevenly; on more, tuning takes longest."""


class WrongWork(Exception):
    """A contestant has not done what it was given; its time is worth nothing."""


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
        """Records per second once started: what is left when the start is taken off, a twentieth at least."""
        seconds = median(self.seconds)
        return (self.contestant.records - 1) / max(seconds / 20, seconds - self.start)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        c = self.contestant
        return {
            "key": c.key,
            "label": c.label,
            "kind": c.kind,
            "form": c.form,
            "ours": c.ours,
            "version": c.version,
            "records": c.records,
            "records_checked": self.done.records,
            "checksum": self.done.checksum,
            "checksum_expected": c.expected(c.records).checksum,
            "in_order": self.done.in_order,
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
        python = f"{platform.python_implementation()} {platform.python_version()}"
        return cls(
            cpus=cpus,
            usable_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus,
            python=python if gil_enabled() else f"{python} without a GIL",
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
    contestants: Sequence[Contestant], repeats: int, say: Callable[[str], None] = lambda line: None, sweeps: int = 2
) -> list[Timing]:
    """Time all contestants, `repeats` times each, in turns, so that a slow minute of the machine hits them all.

    Args:
        contestants: who takes part.
        repeats: how often; medians need three or more.
        say: is told what goes on.
        sweeps: how often each choice of a knob is tried before. One noisy try picks badly. With one,
            who has no knob is not warmed up either.

    Returns:
        A timing each, in the order given.

    Raises:
        WrongWork: somebody has lost, doubled, changed or disordered a record.
    """
    timings = [Timing(contestant, Done(0, 0)) for contestant in contestants]
    for timing in timings:
        _tune(timing, sweeps, say)
    for repeat in range(repeats):
        say(f"repeat {repeat + 1} of {repeats}")
        turn = repeat % len(timings)
        for timing in [*timings[turn:], *timings[:turn]]:
            timing.start_seconds.append(_timed(timing, 1))
            timing.seconds.append(_timed(timing, timing.contestant.records))
    return timings


def _tune(timing: Timing, sweeps: int, say: Callable[[str], None]) -> None:
    """Warm up, and take the choice with the best try on a part of the records."""
    contestant = timing.contestant
    timing.choice = contestant.choices[0] if contestant.choices else None
    if len(contestant.choices) < 2:
        if sweeps > 1:
            _timed(timing, 1)
        return
    part = -(-contestant.records // SWEPT_PART)
    for _ in range(sweeps):
        for timing.choice in contestant.choices:
            rate = part / _timed(timing, part)
            timing.swept[timing.choice] = max(rate, timing.swept.get(timing.choice, 0.0))
    timing.choice = max(timing.swept, key=lambda choice: timing.swept[choice])
    say(f"{contestant.label}: best {contestant.knob} of {list(timing.swept)} is {timing.choice}")


def _timed(timing: Timing, records: int) -> float:
    """Seconds of one call, which is checked."""
    gc.collect()  # nobody pays for the garbage of the one before
    more = () if timing.choice is None else (timing.choice,)
    started = time.perf_counter()
    timing.done = timing.contestant.run(records, *more)
    spent = time.perf_counter() - started
    _check(timing, timing.contestant.expected(records))
    return spent


def _check(timing: Timing, expected: Done) -> None:
    done = timing.done
    if (done.records, done.checksum) != (expected.records, expected.checksum):
        raise WrongWork(f"{timing.contestant.label}: {done}, expected {expected}")
    if timing.contestant.keeps_order and done.in_order is False:
        raise WrongWork(f"{timing.contestant.label}: results out of order")
