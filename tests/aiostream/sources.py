"""Live sources that tell how they were used, aiostream streams made of them, and a pipeline that keeps what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Literal

import aiostream
from aiostream import Stream

from pipeframe_async import Chunk, PipeFrame, PipelineEngine

stream: Any = aiostream.stream
pipe: Any = aiostream.pipe
"""Without their types, which want every mapped function to take `*args`: it may map several streams at once."""

AfterLast = Literal["ends", "waits"] | BaseException

TURNS = 5
"""Turns of the loop that each record takes to come. With fewer than three its source is always ready, and `merge`
never gets round to opening the next one; more cost time."""


class Live:
    """A source of some records, which then ends, waits for more that never come, or raises.

    Each stream made of it opens it anew; its clean-up awaits, as that of a socket does.
    """

    def __init__(self, records: Iterable[Any], *, then: AfterLast = "ends") -> None:
        self._records = records
        self._then = then
        self.opened = self.closed = self.handed = 0

    async def numbers(self) -> AsyncIterator[Any]:
        self.opened += 1
        try:
            for record in self._records:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                self.handed += 1
                yield record
            if isinstance(self._then, BaseException):
                raise self._then
            if self._then == "waits":
                await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            self.closed += 1


Form = Callable[[Live], Stream[Any]]

FORMS: dict[str, tuple[Form, int]] = {
    "plain": (lambda live: stream.iterate(live.numbers()), 1),
    "operators": (
        lambda live: stream.iterate(live.numbers()) | pipe.enumerate() | pipe.map(lambda pair: pair[1]) | pipe.skip(0),
        1,
    ),
    "chunks": (lambda live: stream.iterate(live.numbers()) | pipe.chunks(3) | pipe.map(Chunk), 1),
    "merge": (lambda live: stream.merge(live.numbers(), live.numbers()), 2),
    "merge of streams": (
        lambda live: stream.merge(stream.iterate(live.numbers()), stream.iterate(live.numbers())) | pipe.skip(0),
        2,
    ),
}
"""Each with the number of sources it is made of. `chunks` hands over three records at once, when it has them."""

ONE_BY_ONE = {name: form for name, form in FORMS.items() if name != "chunks"}


def passing(record: Any) -> tuple[Any, bool]:
    return record, True


def failing(record: Any) -> tuple[Any, bool]:
    raise ValueError(f"no {record}")


class Through(PipelineEngine[Any, Any]):
    """Records pass as they are. Knobs are given as arguments."""

    source = "stream"
    timeout = None
    steps = (passing,)

    def __init__(self, feed: Any = None, **knobs: Any) -> None:
        self.feed = feed
        for name, value in knobs.items():
            setattr(self, name, value)


class Sunk(Through):
    """Keeps its results; `enough` is set when there are as many as wanted."""

    def __init__(self, feed: Any = None, *, wanted: int = 0, **knobs: Any) -> None:
        super().__init__(feed, **knobs)
        self.taken: list[Any] = []
        self.enough = asyncio.Event()
        self._wanted = wanted

    async def sink(self, records: list[Any]) -> None:
        self.taken += records
        if len(self.taken) >= self._wanted:
            self.enough.set()


def a_frame(**options: Any) -> PipeFrame:
    """Where the steps run is not the point."""
    return PipeFrame(executor="inline", **options)
