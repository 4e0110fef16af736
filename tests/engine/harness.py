"""One harness for all tests of the engine: runs on a fake executor, pipelines made of arguments, and what must hold.

A run alone is made by `a_run`, a frame on fake workers is `FakeFrame`, which shows the runs it made. `balanced` and
`settled` look at the books, `watched` looks at them all the time, `stepped` runs on a loop that stops at every step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from functools import partial
from typing import Any, Literal, TypeVarTuple

from pipeframe_async import Delivery, Failure, PipeFrame, PipelineEngine, RunReport, Stats
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.feeding.backlog import Backlog
from pipeframe_async._engine.feeding.spill import Spill
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.run import Run
from pipeframe_async._engine.settling.answer import Answer, answer_of
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._engine.wiring import Limits
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async.executors.packing import Packing
from pipeframe_async.plan import feed_of, instance_of, plan_of
from pipeframe_async.testing import FakeExecutor, VirtualClockLoop

Ts = TypeVarTuple("Ts")

# Runs.


class FakeFrame(PipeFrame):
    """A frame whose workers are fakes, and which shows the runs it made."""

    def __init__(self, executor: FakeExecutor | None = None, **options: Any) -> None:
        self.executor = executor or FakeExecutor()
        super().__init__(executor=self.executor, **options)
        self.made: list[Run] = []

    @asynccontextmanager
    async def _run(self, *args: Any, **options: Any) -> AsyncIterator[Run]:
        async with super()._run(*args, **options) as run:
            self.made.append(run)
            yield run


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
    """A run without a frame."""
    engine = instance_of(pipeline)
    fed = feed_of(engine, feed)
    plan = plan_of(engine, fed)
    limits = Limits(buffer_size, buffer_bytes, drain_timeout)
    return Run(plan, fed, Workforce(executor or FakeExecutor()), limits, streaming=streaming)


# Pipelines.


def passing(record: Any) -> tuple[Any, bool]:
    return record, True


def failing(record: Any) -> tuple[Any, bool]:
    raise ValueError(f"no {record}")


class Through(PipelineEngine[Any, Any]):
    """A stream whose records pass as they are; everything can be given, and `taken` is what its sink took."""

    source: Literal["batch", "stream"] = "stream"
    steps: Sequence[Callable[..., object]] = (passing,)
    timeout: float | None = 2.0
    feed: Any

    def __init__(self, feed: Any = None, **knobs: Any) -> None:
        self.taken: list[Any] = []
        if feed is not None:
            self.feed = feed
        for name, value in knobs.items():
            setattr(self, name, value)


class Sunk(Through):
    """With a sink that keeps what it is given, in lists of the lengths `calls`, and takes `slow` seconds for each."""

    slow: float | None = None

    def __init__(self, feed: Any = None, **knobs: Any) -> None:
        super().__init__(feed, **knobs)
        self.calls: list[int] = []

    async def sink(self, records: list[Any]) -> None:
        if self.slow is not None:
            await asyncio.sleep(self.slow)
        self.calls.append(len(records))
        self.taken += records


class Stream(Through):
    """With a script for a feed: records, and floats for seconds of pause. It never runs dry.

    `fed` has what was handed over, `closed` how often the feed was.
    """

    timeout: float | None = None

    def __init__(self, script: Sequence[Any] = (), **knobs: Any) -> None:
        super().__init__(**knobs)
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


class Kept(Stream, Sunk):
    """The same with a sink and dead letters that keep what they are given."""

    slow = 0.0

    def __init__(self, script: Sequence[Any] = (), **knobs: Any) -> None:
        super().__init__(script, **knobs)
        self.dead: list[Failure[Any]] = []

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures


# What feeds and consumers keep.


class Tap:
    """Counts what a feed hands over and what a consumer takes; `most` is how many were between them.

    `cut`: how many records a thread may be cut off from, at the end of its last chunk.
    """

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.handed = self.taken = self.most = self.cut = 0

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


# Parts alone.


class CountedBell(Bell):
    """A bell that counts its rings."""

    rings = 0

    def ring(self) -> bool:
        self.rings += 1
        return super().ring()


class Shelf:
    """A backlog and the books its records are noted in, without a run; `settlements` counts what was settled."""

    def __init__(self, capacity: int = 100, capacity_bytes: int = 2**20, *, whole: bool = False) -> None:
        self.ledger = Ledger(capacity, capacity_bytes)
        self.bell = CountedBell()
        self.settlements = 0
        self.books = Books(self.ledger, work=self.bell, settled=self._settled)
        self.backlog = Backlog(self.books, Spill(Packing(), "step", self.bell.ring), self.bell, whole=whole)

    def _settled(self) -> None:
        self.settlements += 1

    def feed(self, *records: Any) -> None:
        """As intake does: in memory what has a permit, the rest on disk."""
        self.backlog.records.extend(records)
        self.backlog.note()

    def settle(self, first: int, count: int, nbytes: int = 0) -> None:
        """Records that were taken become a batch and are delivered."""
        self.ledger.open(first, count, nbytes)
        self.books.settle(delivered(first, *range(count)))


def delivered(first: int, *results: Any) -> Answer:
    """The answer of as many records as there are results."""
    count = len(results)
    return answer_of(first, count, delivered=count, bypassed=0, filtered=0, results=list(results))


def failed(first: int, *failures: Failure[Any]) -> Answer:
    """The answer of as many records as there are failures."""
    count, numbered = len(failures), list(enumerate(failures))
    return answer_of(
        first,
        count,
        delivered=0,
        bypassed=0,
        filtered=0,
        results=[],
        failures=numbered,
        spans=dict.fromkeys(range(count), 0),
    )


def a_failure(record: Any = None, kind: Any = "raised") -> Failure[Any]:
    return Failure(record, "step", kind, "ValueError", "no", "")


# What must hold.


def balanced(counts: RunReport | Stats) -> bool:
    """The law of the books: at every instant, and of a run that is over."""
    held = counts.in_flight + counts.spilled if isinstance(counts, Stats) else 0
    outcomes = counts.skipped + counts.delivered + counts.filtered + counts.failed + counts.aborted
    return counts.fed + counts.emitted == outcomes + held and counts.bypassed <= counts.delivered


def settled(frame: FakeFrame) -> RunReport:
    """Check that the last run has left nothing behind and kept its limits; returns its report."""
    run = frame.made[-1]
    ledger, report = run.organs.books.ledger, run.results.report
    ledger.audit(final=True)
    assert balanced(report), report
    assert ledger.in_flight == ledger.in_flight_bytes == ledger.spilled == 0
    assert ledger.peak_in_flight <= ledger.capacity
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, others
    return report


async def watched(run: Run, look: float = 0.01) -> RunReport:
    """Execute a run, and look at its books again and again while it lasts."""

    async def watch() -> None:
        while True:
            stats = run.stats()
            assert balanced(stats), stats
            assert stats.in_flight <= run.organs.books.ledger.capacity
            await asyncio.sleep(look)

    watching = asyncio.ensure_future(watch())
    try:
        return await run.execute()
    finally:
        if watching.done():
            watching.result()
        watching.cancel()
        await asyncio.wait([watching])


# Loops.


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
