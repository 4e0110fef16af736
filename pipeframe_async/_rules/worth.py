"""Whether a chain is worth the way to a worker, or is run beside the loop, by what its batches were measured to cost.

Moving a record costs the parent its packing and unpacking, and the worker its reading, writing and copying. Where
that comes to more than the steps' own work, a worker process only makes the run slower.
"""

from __future__ import annotations

from dataclasses import dataclass

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
MEMORY = 0.8
"""Weight that measurements keep when the next one comes in: about five batches are remembered."""
BATCH_SECONDS = 0.0001
"""What a batch costs that is in no measurement: two messages, and the turns of the loop they take."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a batch of so many records took: in its steps, and of the worker and the parent for moving it."""

    records: int
    work: float
    worker: float = 0.0
    parent: float = 0.0


class Worth:
    """Learns from batches; says where the next ones go.

    Args:
        workers: how many worker processes share the work.

    Attributes:
        beside: whether batches are to be run beside the loop.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._records = self._work = 0.0
        self._worker = self._parent = 0.0  # seconds a record for moving it, when it was last moved
        self._batches = 0
        self._seconds = 0.0
        self.beside = False

    def ran(self, cost: Cost, *, beside: bool) -> None:
        """A batch was run, in a worker or `beside` the loop; what still comes from the other place is not counted."""
        if beside is not self.beside or not cost.records:
            return
        weight = MEMORY * self._records
        if not beside:
            self._worker = (weight * self._worker + cost.worker) / (weight + cost.records)
            self._parent = (weight * self._parent + cost.parent + BATCH_SECONDS) / (weight + cost.records)
        self._work = MEMORY * self._work + cost.work
        self._records = weight + cost.records
        self._batches += 1
        self._seconds += cost.work + cost.worker + cost.parent
        if self._batches >= ENOUGH_BATCHES and self._seconds >= ENOUGH_SECONDS:
            self._decide()

    def _decide(self) -> None:
        work = self._work / self._records
        moving = self._worker + self._parent
        shared = max(self._parent, (work + self._worker) / self._workers)  # a record's time with all workers at it
        if self.beside:
            move = work > RETURN * moving or (self._workers > 1 and work > RETURN * shared)
        else:
            move = work <= LEAVE * moving and work <= shared
        if move:
            self.beside = not self.beside
            self._batches, self._seconds, self._work, self._records = 0, 0.0, 0.0, 0.0
