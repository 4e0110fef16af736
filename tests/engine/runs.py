"""Runs for engine tests: a pipeline, a fake executor, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal

from pipeframe_async import Failure, PipelineEngine, RunReport, Stats
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.run import Run
from pipeframe_async._engine.wiring import Limits
from pipeframe_async.plan import feed_of, plan_of
from pipeframe_async.testing import FakeExecutor


def passes(record: Any) -> tuple[Any, bool]:
    return record, True


class Stream(PipelineEngine[Any, Any]):
    """A stream whose records and pauses are given; keeps what comes out of it.

    `script` has records, and floats for seconds of pause.
    """

    steps: Sequence[Callable[..., object]] = (passes,)
    source: Literal["batch", "stream"] = "stream"
    timeout: float | None = None

    def __init__(self, script: Sequence[Any] = ()) -> None:
        self.script = script
        self.fed: list[Any] = []
        self.closed = 0

    async def feed(self) -> AsyncIterator[Any]:
        try:
            for item in self.script:
                if isinstance(item, float):
                    await asyncio.sleep(item)
                else:
                    self.fed.append(item)
                    yield item
        finally:
            self.closed += 1


class Kept(Stream):
    """The same with a sink and dead letters that keep what they are given."""

    def __init__(self, script: Sequence[Any] = (), *, slow: float = 0.0) -> None:
        super().__init__(script)
        self.slow = slow
        self.taken: list[Any] = []
        self.calls: list[int] = []
        self.dead: list[Failure[Any]] = []

    async def sink(self, records: list[Any]) -> None:
        await asyncio.sleep(self.slow)
        self.calls.append(len(records))
        self.taken += records

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures


def a_run(
    pipeline: PipelineEngine[Any, Any],
    executor: FakeExecutor | None = None,
    *,
    feed: Any = None,
    buffer_size: int = 100,
    buffer_bytes: int = 2**20,
    drain_timeout: float = 30.0,
    streaming: bool = False,
) -> Run:
    plan = plan_of(pipeline)
    limits = Limits(buffer_size, buffer_bytes, drain_timeout)
    return Run(plan, feed_of(plan, feed), Workforce(executor or FakeExecutor()), limits, streaming=streaming)


def balanced(books: Stats | RunReport) -> bool:
    in_flight = books.in_flight + books.spilled if isinstance(books, Stats) else 0
    outcomes = books.delivered + books.filtered + books.failed + books.aborted
    return books.fed + books.emitted == outcomes + in_flight


async def watched(run: Run, look: float = 0.01) -> RunReport:
    """Execute a run, and look at its books again and again while it lasts."""

    async def watch() -> None:
        while True:
            stats = run.stats()
            assert balanced(stats), stats
            assert stats.in_flight <= run.parts.books.ledger.capacity
            await asyncio.sleep(look)

    watching = asyncio.ensure_future(watch())
    try:
        return await run.execute()
    finally:
        if watching.done():
            watching.result()
        watching.cancel()
        await asyncio.wait([watching])
