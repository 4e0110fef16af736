"""A seat: one lane's place on the cluster, from when it is asked for until it is given up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False, slots=True)
class Seat:
    """One lease.

    Attributes:
        key: of the lease; also what the Dask worker calls the lane by.
        address: of the Dask worker.
        future: Dask's, which holds the lease.
        there: the lane is there, and takes batches.
        over: it takes none any more.
        busy: batches that are with it.
        known: the chains its worker was sent, by label.
        pid: of the lane's process.
        starts: how often the lane has started one.
        restarts: workers of it that are no more, by cause.
    """

    key: str
    address: str
    future: Any
    there: bool = False
    over: bool = False
    busy: int = 0
    known: set[str] = field(default_factory=set)
    pid: int | None = None
    starts: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    sitting: asyncio.Task[None] | None = None

    @property
    def free(self) -> bool:
        """Whether it can be given a batch."""
        return self.there and not self.over

    def told(self, answer: dict[str, Any]) -> None:
        """What an answer says of the lane besides."""
        self.pid, self.starts = answer.get("pid", self.pid), answer.get("starts", self.starts)
        self.restarts = answer.get("restarts", self.restarts)
