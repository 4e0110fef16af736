"""A run under fire: faulty records of ten kinds, and a random worker killed every few milliseconds.

`chaos` makes the run and returns its `Figures`; what they must be is for the tests and the soak to say. It keeps
one byte a record, so that a long run shows the library's memory and not its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import resource
import signal
import threading
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeframe_async import Failure, PipeFrame, PipelineEngine
from pipeframe_async.testing import leaks
from tests.process import poison

TIME_LIMIT = 0.4
"""Seconds. A good record needs less than a thousandth of it, also where the machine is busy."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The parent at one moment: records delivered, kills, workers started anew, its resident MiB."""

    seconds: float
    delivered: int
    kills: int
    restarts: int
    rss: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of a run under fire."""

    records: int
    poison: int
    kills: int
    restarts: int
    seconds: float
    lost: int
    duplicates: int
    disordered: int
    innocents: tuple[str, ...]
    found: int
    mistaken: tuple[str, ...]
    re_executed: int
    samples: tuple[Sample, ...]
    kinds: dict[str, int]

    @property
    def share(self) -> float:
        """Re-executed records per record."""
        return self.re_executed / self.records

    @property
    def growth(self) -> float:
        """How much the parent's memory grew after the first quarter of the run, along its slope: MiB."""
        late = [sample for sample in self.samples if sample.seconds >= self.seconds / 4]
        if len(late) < 3:
            return 0.0
        mean_x = sum(sample.seconds for sample in late) / len(late)
        mean_y = sum(sample.rss for sample in late) / len(late)
        spread = sum((sample.seconds - mean_x) ** 2 for sample in late)
        slope = sum((sample.seconds - mean_x) * (sample.rss - mean_y) for sample in late) / spread
        return slope * (late[-1].seconds - late[0].seconds)

    def __str__(self) -> str:
        lines = [
            f"{self.records:,} records, {self.poison} of them faulty, {self.kills:,} kills from outside, "
            f"{self.restarts:,} workers started anew, {self.seconds:.1f} s",
            f"lost {self.lost}, duplicates {self.duplicates}, out of order {self.disordered}, "
            f"innocents blamed {len(self.innocents)}, poison found {self.found} of {self.poison} {self.kinds}",
            f"re-executed {self.re_executed:,} ({self.share:.2%})",
        ]
        if self.samples:
            first, last = self.samples[0], self.samples[-1]
            lines.append(
                f"memory {first.rss:.1f} to {last.rss:.1f} MiB, {self.growth:+.2f} MiB after the first quarter"
            )
        lines += [f"blamed: {text}" for text in self.innocents[:5]]
        lines += [f"mistaken: {text}" for text in self.mistaken[:5]]
        return "\n".join(lines)


class UnderFire(PipelineEngine[Any, Any]):
    """Counts what comes out, a byte a record."""

    source = "stream"
    steps: Sequence[Callable[..., object]] = (poison.work, poison.passes_on)
    timeout = None
    time_limit = TIME_LIMIT

    def __init__(self, records: int, faulty: dict[int, str], seconds: float, batch_size: int | None) -> None:
        self.records = records
        self.faulty = faulty
        self.seconds = seconds
        self.batch_size = batch_size
        self.times = array("B", bytes(records))
        self.delivered = 0
        self.disordered = 0
        self.last = -1
        self.failures: list[Failure[Any]] = []

    async def feed(self) -> AsyncIterator[Any]:
        for place in range(self.records):
            kind = self.faulty.get(place)
            yield (place, self.seconds) if kind is None else poison.made(place, kind)

    async def sink(self, results: list[int]) -> None:
        for place in results:
            self.times[place] = min(255, self.times[place] + 1)
            self.disordered += place <= self.last
            self.last = place
        self.delivered += len(results)

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures


async def waits(record: Any) -> tuple[Any, bool]:
    await asyncio.sleep(0.001)
    return record, True


class MixedUnderFire(UnderFire):
    """The same between async steps, with two runs of steps for workers."""

    steps = (waits, poison.work, waits, poison.passes_on, waits)


def place_of(record: Any) -> int:
    """Where a failed record stood; of one that cannot be read the failure may have no more than the bytes."""
    if isinstance(record, tuple) and not isinstance(record, poison.Poison):
        return int(record[0])
    if isinstance(record, bytes):
        found = re.search(rb"place:(\d+)", record)
        return int(found[1]) if found else -1
    return int(getattr(record, "place", -1))


async def chaos(
    records: int,
    *,
    poison_each: int,
    lanes: int,
    kill_every: float,
    seconds_each: float,
    batch_size: int | None = None,
    seed: int = 0,
    mixed: bool = False,
    progress: Callable[[Sample], None] | None = None,
    sample_every: float = 0.25,
) -> Figures:
    """Run `records` records, `poison_each` of every kind of poison among them, and kill workers meanwhile.

    Args:
        records: how many, poison included.
        poison_each: faulty records of each of the ten kinds.
        lanes: workers.
        kill_every: seconds between two kills.
        seconds_each: what a good record's step sleeps.
        batch_size: None: self-tuning.
        mixed: between async steps.
        seed: draws the places of poison and whom to kill.
        progress: gets a sample now and then.
        sample_every: seconds between two samples.
    """
    chance = random.Random(seed)
    kinds = [kind for kind in poison.KINDS for _ in range(poison_each)]
    faulty = dict(zip(chance.sample(range(records), len(kinds)), kinds, strict=True))
    pipeline = (MixedUnderFire if mixed else UnderFire)(records, faulty, seconds_each, batch_size)
    frame = PipeFrame(lanes)
    samples: list[Sample] = []
    started = time.monotonic()

    async def sample() -> None:
        while True:
            await asyncio.sleep(sample_every)
            stats = frame.stats()
            now = Sample(
                time.monotonic() - started, stats.delivered, shots.fired, stats.worker_restarts, resident_mib()
            )
            samples.append(now)
            if progress is not None:
                progress(now)

    with firing(kill_every, chance) as shots:
        sampling = asyncio.create_task(sample())
        try:
            report = await frame.run(pipeline)
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])
    return _figures(pipeline, report, shots.fired, tuple(samples))


def _figures(pipeline: UnderFire, report: Any, kills: int, samples: tuple[Sample, ...]) -> Figures:
    counts = Counter(pipeline.times)
    places = [(place_of(failure.record), failure) for failure in pipeline.failures]
    guilty = {place: failure for place, failure in places if place in pipeline.faulty}
    delivered_poison = sum(pipeline.times[place] for place in pipeline.faulty)
    good_missing = sum(not n for place, n in enumerate(pipeline.times) if place not in pipeline.faulty)
    return Figures(
        records=pipeline.records,
        poison=len(pipeline.faulty),
        kills=kills,
        restarts=report.worker_restarts,
        seconds=report.elapsed,
        lost=good_missing
        - sum(place not in pipeline.faulty for place, _ in places)
        + (report.aborted + report.filtered),
        duplicates=sum(n * (times - 1) for times, n in counts.items() if times > 1)
        + delivered_poison
        + (len(places) - len({place for place, _ in places})),
        disordered=pipeline.disordered,
        innocents=tuple(str(failure) for place, failure in places if place not in pipeline.faulty),
        found=len(guilty),
        mistaken=tuple(
            f"{pipeline.faulty[place]} ended as {failure.kind}: {failure}"
            for place, failure in guilty.items()
            if failure.kind not in poison.KINDS[pipeline.faulty[place]]
        ),
        re_executed=report.re_executed,
        samples=samples,
        kinds=dict(Counter(failure.kind for failure in pipeline.failures)),
    )


class Shots:
    """How often somebody was hit."""

    fired = 0


@contextmanager
def firing(every: float, chance: random.Random) -> Iterator[Shots]:
    """SIGKILL a random worker of this process every so many seconds, from a thread, until the block is left."""
    shots, ended = Shots(), threading.Event()

    def fire() -> None:
        due = time.monotonic()
        while not ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + every, time.monotonic())
            # Workers are the fork server's children; what is ours directly may be a service that is just starting.
            ours = [process for process in leaks.our_processes() if process.parent != os.getpid()]
            if targets := [process.pid for process in ours if process.state != "Z"]:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(targets), signal.SIGKILL)
                    shots.fired += 1

    thread = threading.Thread(target=fire, name="firing", daemon=True)
    thread.start()
    try:
        yield shots
    finally:
        ended.set()
        thread.join()


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
