"""In a Dask worker: what the steps of one lane have logged, until its client takes it, with each answer and each look.

What waits is bounded: over the bound lines are dropped and counted, and nobody waits. Process: the Dask worker's;
`put` is called on its loop, or in a thread of the lane.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from pipeframe_async._worker.forwarding import Chunk
from pipeframe_async._worker.wanted import Wanted
from pipeframe_async.wire import Positions

MOST_BYTES: Final = 8 * 2**20
"""Of lines that wait for the next answer, or look: 20,000 of them. Fewer are dropped where a batch logs much, more wait
in vain where the client is gone."""


class Told(NamedTuple):
    """Some lines on their way to the client: a `Chunk`, and by the number that a line says its batch has the client's
    ticket for that.
    """

    lines: int
    dropped: int
    data: bytes
    tickets: dict[int, int]


class Lines:
    """Of one lane."""

    def __init__(self) -> None:
        self._wanted: Wanted | None = None
        self._waiting: deque[Told] = deque()
        self._nbytes = self._dropped = 0
        self._lock = threading.Lock()  # of what is above

    def wanted(self) -> Wanted | None:
        """What the client wants; None before it has said so."""
        return self._wanted

    def want(self, wanted: Wanted) -> None:
        """The client wants this from now on."""
        self._wanted = wanted

    def put(self, chunk: Chunk, worker: str, positions: Mapping[int, Positions | None]) -> None:
        """Lines have come; in place of its positions a batch has its ticket."""
        tickets = {batch: place[0] for batch, place in positions.items() if place is not None}
        with self._lock:
            if self._nbytes + len(chunk.data) > MOST_BYTES:
                self._dropped += chunk.dropped + chunk.lines
                return
            self._waiting.append(Told(chunk.lines, chunk.dropped + self._dropped, chunk.data, tickets))
            self._nbytes += len(chunk.data)
            self._dropped = 0

    def take(self) -> list[Told]:
        """All that have come, for the client."""
        with self._lock:
            taken = [*self._waiting]
            if self._dropped:
                taken.append(Told(0, self._dropped, b"", {}))
            self._waiting.clear()
            self._nbytes = self._dropped = 0
        return taken
