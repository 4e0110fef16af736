"""How many worker seconds a batch takes, by the times at which the batches of its lane come and go.

Comes in: times. Goes out: seconds, in which a worker is at one batch, whatever the others of its lane are at. Batches
that are behind others in a lane share its workers evenly in this account: each of them has a little too much or too
little, and all of them together what the workers have worked.
"""

from __future__ import annotations


class Occupancy:
    """The batches in one lane.

    Attributes:
        batches: in it, at work or behind others.
    """

    def __init__(self) -> None:
        self.batches = 0
        self._each = 0.0  # worker seconds that a batch has had which has been here all the time
        self._since = 0.0

    def now(self, time: float, workers: int) -> float:
        """Move to this time; the difference between two of these is what a batch has had that was here between."""
        if self.batches:
            self._each += (time - self._since) * min(1.0, workers / self.batches)
        self._since = time
        return self._each

    def came(self, time: float, workers: int) -> float:
        """One more; returns where its account begins."""
        begins = self.now(time, workers)
        self.batches += 1
        return begins

    def went(self, time: float, workers: int) -> float:
        """One less; returns where its account ends."""
        ends = self.now(time, workers)
        self.batches -= 1
        return ends
