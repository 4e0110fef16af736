"""Whether a chain is worth the way to a worker, or is run in this process, by what its batches were measured to cost.

Moving a record costs the parent its packing and unpacking, and the worker its reading, writing and copying. Where
that comes to more than the steps' own work, a worker process only makes the run slower.

Where threads share no GIL, this process has as many of them as there are workers. Some chains are as fast in each of
these as in a process; others touch what all threads touch, and are several times slower. Nobody can tell by looking at
them, so threads are tried for some batches, and kept where those took less time than batches do where they came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

ENOUGH_BATCHES = 8
"""Batches that are looked at before a chain is moved. Fewer go by first records and cold caches; with more, short runs
have ended before anything is gained. They also are where a chain that kills its process is found out in a worker."""
ENOUGH_SECONDS = 0.005
"""Seconds that these must have cost. Less is within the noise of what is measured."""
LEAVE = 0.7
"""Work is this many times what moving costs, or less: the chain is run beside the loop. Higher gains little, and takes
chains out of their processes that might as well stay there."""
RETURN = 1.5
"""Work is this many times what moving cost, or more: the chain goes back. Nearer to `LEAVE`, and noise moves it."""
GAIN = 0.8
"""A record takes this share of the time in threads, or less: there the chain stays. Nothing isolates it then, which a
tenth is not worth; with a smaller share chains are left in processes that take a third longer."""
TURNED = 2.0
"""Records that take this many times longer in threads than when these were taken: they or their chain have changed, and
are measured anew where they came from. Nearer to 1, and noise has them measured."""
MEMORY = 0.8
"""Weight that measurements keep when the next one comes in: about five batches are remembered."""
BATCH_SECONDS = 0.0001
"""What a batch costs that is in no measurement: two messages, and the turns of the loop they take."""


class At(Enum):
    """Where batches are run."""

    WORKERS = "in worker processes"
    BESIDE = "in one thread beside the loop"
    THREADS = "in threads without a GIL"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a batch of so many records took: in its steps, and of the worker and the parent for moving it.

    `wall` is how long whoever ran it was busy with it, waits for others included.
    """

    records: int
    work: float
    worker: float = 0.0
    parent: float = 0.0
    wall: float = 0.0


@dataclass(slots=True)
class _Remembered:
    """Batches of one place, the last ones most of all."""

    records: float = 0.0
    work: float = 0.0
    wall: float = 0.0
    batches: int = 0
    seconds: float = 0.0

    def add(self, cost: Cost) -> None:
        self.records = MEMORY * self.records + cost.records
        self.work = MEMORY * self.work + cost.work
        self.wall = MEMORY * self.wall + cost.wall
        self.batches += 1
        self.seconds += cost.work + cost.worker + cost.parent

    @property
    def enough(self) -> bool:
        return self.batches >= ENOUGH_BATCHES and self.seconds >= ENOUGH_SECONDS


class Worth:
    """Learns from batches; says where the next ones go.

    Args:
        workers: how many worker processes share the work.
        threads: how many threads of this process do, without a GIL; 0 where there is one.

    Attributes:
        at: where batches are to be run.
        slower: how many times longer a record was measured to take in threads than where it came from, with all of
            both at work; None where they were not tried.
    """

    def __init__(self, workers: int, threads: int = 0) -> None:
        self._workers = workers
        self._threads = threads
        self._here = _Remembered()
        self._worker = self._parent = 0.0  # seconds a record for moving it, when it was last moved
        self._home = At.WORKERS  # where a chain in threads came from,
        self._home_seconds = 0.0  # and what a record took there
        self._most = inf  # seconds a record in threads before it goes home; not known during the trial
        self._refused = False  # threads were found not to be worth it
        self.at = At.WORKERS
        self.slower: float | None = None

    def ran(self, cost: Cost, at: At) -> None:
        """A batch was run there; what still comes from a place that was left is not counted."""
        if at is not self.at or not cost.records:
            return
        if at is At.WORKERS:
            weight = MEMORY * self._here.records
            self._worker = (weight * self._worker + cost.worker) / (weight + cost.records)
            self._parent = (weight * self._parent + cost.parent + BATCH_SECONDS) / (weight + cost.records)
        self._here.add(cost)
        if self._here.enough:
            next_at = self._decided()
            if next_at is not at:
                self.at, self._here = next_at, _Remembered()

    def _decided(self) -> At:
        here = self._here
        if self.at is At.THREADS:
            return self._after_threads(here.wall / here.records / self._threads)
        work, wall = here.work / here.records, here.wall / here.records
        moving = self._worker + self._parent
        shared = max(self._parent, (work + self._worker) / self._workers)  # a record's time with all workers at it
        if self.at is At.WORKERS:
            if work <= LEAVE * moving and work <= shared:
                return At.BESIDE
            return self._tried(work, max(self._parent, wall / self._workers))
        if work > RETURN * moving or (self._workers > 1 and work > RETURN * shared):
            return At.WORKERS
        return self._tried(work, wall)

    def _tried(self, work: float, seconds: float) -> At:
        """Threads, where they were not found to be slow, and at their best would be worth it; else where it is."""
        if not self._threads or self._refused or work / self._threads > GAIN * seconds:
            return self.at
        self._home, self._home_seconds, self._most = self.at, seconds, inf
        return At.THREADS

    def _after_threads(self, seconds: float) -> At:
        """What comes after so many seconds a record in threads, with all of them at work."""
        if self._most == inf:
            self.slower = seconds / self._home_seconds
            self._refused = self.slower > GAIN
            self._most = TURNED * seconds
            return self._home if self._refused else At.THREADS
        return self._home if seconds > self._most else At.THREADS
