"""A seat: one lane's place on the cluster, from when it is asked for until it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeframe_async._worker.forwarding import Chunk
from pipeframe_async._worker.wanted import Wanted
from pipeframe_async.executors.dask import frames
from pipeframe_async.wire import Positions


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
        at: what it was at, as it has said last.
        positions: of the batches that are with it, by ticket: where their records are in the feed.
        wanted: which log lines its worker was told are wanted.
        heard: when it was asked for something first, or has answered last.
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
    at: tuple[int, int] | None = None
    positions: dict[int, Positions | None] = field(default_factory=dict)
    wanted: Wanted | None = None
    heard: float = 0.0
    sitting: asyncio.Task[None] | None = None

    @property
    def host(self) -> str:
        """Of the Dask worker, without its port."""
        return self.address.partition("://")[2].rpartition(":")[0].strip("[]")

    @property
    def free(self) -> bool:
        """Whether it can be given a batch."""
        return self.there and not self.over

    def told(self, answer: dict[str, Any]) -> None:
        """What an answer says of the lane besides."""
        self.pid, self.starts = answer.get("pid", self.pid), answer.get("starts", self.starts)
        self.restarts, self.at = answer.get("restarts", self.restarts), answer.get("at", self.at)

    def lines(self, answer: dict[str, Any]) -> Iterator[tuple[Chunk, dict[int, Positions | None]]]:
        """The log lines that came with an answer, and where their batches are in the feed."""
        for lines, dropped, data, tickets in frames.load(answer["lines"]) if "lines" in answer else ():
            positions = {batch: self.positions.get(ticket) for batch, ticket in tickets.items()}
            yield Chunk(lines, dropped, data), positions
