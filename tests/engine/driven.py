"""Frames on a fake executor, pipelines made of arguments, and what must hold when a run is over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from functools import partial
from typing import Any, TypeVarTuple

from pipeframe_async import Delivery, Failure, PipeFrame, PipelineEngine, RunReport, Stats
from pipeframe_async._engine.run import Run
from pipeframe_async.testing import FakeExecutor, VirtualClockLoop

Ts = TypeVarTuple("Ts")


class FakeFrame(PipeFrame):
    """A frame whose workers are fakes, and which shows the runs it made."""

    def __init__(self, executor: FakeExecutor | None = None, **options: Any) -> None:
        super().__init__(executor="inline", **options)
        self.executor = executor or FakeExecutor()
        self._warm, self._process = self.executor, os.getpid()
        self.made: list[Run] = []

    @asynccontextmanager
    async def _run(self, *args: Any, **options: Any) -> AsyncIterator[Run]:
        async with super()._run(*args, **options) as run:
            self.made.append(run)
            yield run


def passing(record: Any) -> tuple[Any, bool]:
    return record, True


def failing(record: Any) -> tuple[Any, bool]:
    raise ValueError(f"no {record}")


class Through(PipelineEngine[Any, Any]):
    """A stream whose records pass as they are; everything can be given, and `taken` is what its sink took."""

    source = "stream"
    steps = (passing,)

    def __init__(self, feed: Any = None, **knobs: Any) -> None:
        self.taken: list[Any] = []
        self.feed = feed
        for name, value in knobs.items():
            setattr(self, name, value)


class Sunk(Through):
    """With a sink that keeps what it is given."""

    async def sink(self, records: list[Any]) -> None:
        self.taken += records


class Tap:
    """Counts what a feed hands over and what a consumer takes; `most` is how many were between them."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.handed = self.taken = self.most = 0

    def hand(self, records: int = 1) -> None:
        self.handed += records
        self.most = max(self.most, self.handed - self.taken)


class Answers:
    """Deliveries made here, and how they were answered."""

    def __init__(self) -> None:
        self.acked: list[int] = []
        self.nacked: list[int] = []
        self.failures: list[Failure[Any] | None] = []

    def delivery(self, number: int, record: Any = None) -> Delivery[Any]:
        def nack(failure: Failure[Any] | None) -> None:
            self.nacked.append(number)
            self.failures.append(failure)

        return Delivery(number if record is None else record, None, partial(self.acked.append, number), nack)


def balanced(counts: RunReport | Stats) -> bool:
    """The law of the books, for runs that are over."""
    outcomes = counts.delivered + counts.filtered + counts.failed + counts.aborted
    return counts.fed + counts.emitted == outcomes and counts.bypassed <= counts.delivered


def settled(frame: FakeFrame) -> RunReport:
    """Check that the last run has left nothing behind and kept its limits; returns its report."""
    run = frame.made[-1]
    ledger, report = run.parts.books.ledger, run.results.report
    ledger.audit(final=True)
    assert balanced(report), report
    assert ledger.in_flight == ledger.in_flight_bytes == ledger.spilled == 0
    assert ledger.peak_in_flight <= ledger.capacity
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, others
    return report


class SteppingLoop(VirtualClockLoop):
    """Calls `after` with a running number after every callback, which is after every step of every task."""

    def __init__(self, *, seed: int | None = None) -> None:
        self.steps = 0
        self.after: Callable[[int], None] | None = None
        super().__init__(seed=seed)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(_Step(self, callback, args), context=context)

    def stepped(self) -> None:
        if self.after is not None:
            self.steps += 1
            self.after(self.steps)


class _Step:
    """A callback that tells the loop when it has run; a bound method of the same object, so that tasks stay known."""

    __slots__ = ("__self__", "_args", "_callback", "_loop")

    def __init__(self, loop: SteppingLoop, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.__self__ = getattr(callback, "__self__", None)
        self._loop = loop
        self._callback = callback
        self._args = args

    def __call__(self) -> None:
        self._callback(*self._args)
        self._loop.stepped()


def stepped(main: Callable[[SteppingLoop], Awaitable[Any]]) -> Any:
    """Run a coroutine function on a stepping loop."""
    loop = SteppingLoop()

    async def run() -> Any:
        return await main(loop)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(run())


def now() -> float:
    return asyncio.get_running_loop().time()
