"""One run drawn from a seed: records of all kinds, lanes that die, hang and refuse, and an end at any moment.

It is a frame's own run on a fake executor. What must hold afterwards is worked out from what was fed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeframe_async import (
    DROP,
    Chunk,
    Delivery,
    Failure,
    PipeFrameError,
    PipelineFailed,
    Retry,
    RunReport,
    WorkerLost,
)
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Answers, FakeFrame, SteppingLoop, Through, passing, settled
from tests.engine.mortal import HITS, Item, results_of, step
from tests.engine.mortal import OUTCOMES as OF_DEF_STEPS

DRAIN_TIMEOUT = 5.0
LATEST = DRAIN_TIMEOUT + 2.0
"""Seconds in which a run is over after it was stopped or cancelled."""
PATIENCE = 300.0
"""Seconds after which a run that hangs, as it was told to, is cancelled."""
KINDS = [kind for kind in OF_DEF_STEPS if kind not in ("kills when read", "result cannot be read at home")]
ON_THE_LOOP = {
    "bypasses on the loop": "delivered",
    "is filtered on the loop": "filtered",
    "raises on the loop": "raised",
    "sleeps on the loop": "timeout",
}
"""What a record can be that an async step is the first to see."""
OUTCOMES = {**OF_DEF_STEPS, **ON_THE_LOOP, "fails once": "delivered"}
TIME_LIMIT = 0.5
KEYS = 4
CHAINS = ["def"] * 4 + ["async", "async def", "def async", "def def", "async def async def async"]
"""Runs of steps; the first def step does what the record says. Two in a row have an async step between them."""
ENDINGS = ["none"] * 4 + ["cancel", "cancel twice", "stop", "stop and cancel", "leave"]


@dataclass
class Scene:
    """What is drawn of a seed."""

    draw: random.Random
    items: list[Item] = field(init=False)
    consumer: str = field(init=False)
    ending: str = field(init=False)

    def __post_init__(self) -> None:
        draw = self.draw
        self.chain = draw.choice(CHAINS)
        self.retry = draw.choice([None, None, Retry(2, backoff=0.02), Retry(3, on=(ValueError,), backoff=0.1)])
        kinds = [*([] if self.chain == "async" else KINDS), *(ON_THE_LOOP if self.chain.startswith("async") else [])]
        kinds += ["fails once"] if self.retry and self.chain != "async" else []
        some = draw.sample(kinds, draw.randint(1, min(5, len(kinds))))
        kinds = ["passes"] * (len(some) * draw.choice([1, 3, 12])) + some
        self.items = [Item(place, draw.choice(kinds)) for place in range(draw.choice([0, 1, 5, 30, 60, 60]))]
        self.consumer = draw.choice(["counting", "sink", "stream"])
        self.ending = draw.choice(ENDINGS)
        if self.ending == "leave":
            self.consumer = "stream"
        if self.consumer == "counting":  # then results are not read, and cannot fail
            self.items = [Item(i.place, i.kind.replace("result cannot be read", "passes")) for i in self.items]
        self.order = draw.choice(["input", "completion", "by key"])
        self.async_concurrency = draw.choice([1, 3, 64])
        self.source = draw.choice(["batch", "stream"])
        self.batch_size = draw.choice([None, None, 1, 5, 20])
        self.buffer_size = draw.choice([1, 3, 30, 100])
        self.max_failures = draw.choice([None] * 8 + [0, 2])
        self.end_at = draw.randint(1, draw.choice([60, 200, 600]))  # steps of the loop
        self.leave_after = draw.randint(0, draw.choice([3, 40]))  # results
        self.kills = draw.randint(0, HITS - 1) if draw.random() < 0.4 else 0  # one fewer than blames an innocent

    def executor(self) -> FakeExecutor:
        draw = self.draw
        slow = draw.choice([0.0, 1e-4, 1e-3, 0.02])  # seconds a record: short ones go in large batches
        deaths = {draw.randint(0, 9) for _ in range(min(HITS - 1 - self.kills, draw.choice([0, 0, 1, 4])))}
        return FakeExecutor(
            draw.randint(1, 3),
            slots=draw.choice([1, 2]),
            delay=lambda number, records: draw.random() * slow * records,
            start_seconds=draw.choice([0.0, 0.05]),
            deaths=deaths,
            hangs={draw.randint(0, 9)} if draw.random() < 0.1 else (),
            refusals={draw.randint(0, 9)} if draw.random() < 0.1 else (),
            poison=lambda item: getattr(item, "kind", "") == "kills",  # what the first def step made has none
            stuck=lambda item: getattr(item, "kind", "") == "hangs",
        )


class Simulation:
    """A scene that is played, and what it came to."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.scene = Scene(random.Random(seed))
        self.frame = FakeFrame(self.scene.executor(), buffer_size=self.scene.buffer_size, drain_timeout=DRAIN_TIMEOUT)
        self.fed: list[Item] = []
        self.opened = self.closed = 0
        self.handles: list[int] = []
        self.answers = Answers()
        self.taken: list[Any] = []
        self.dead: list[Failure[Any]] = []
        self.tried: set[int] = set()  # places of records that have failed once
        self.watermarks: list[int] = []
        self.ended_at = 0.0  # when it was told to end; 0.0 where nobody did

    def play(self) -> None:
        """Run it on a loop of its own, which is stepped; every other one with its tasks in an order of their own."""
        loop = SteppingLoop(seed=self.seed if self.seed % 2 else None)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._main(loop))

    async def _main(self, loop: SteppingLoop) -> None:
        running = asyncio.ensure_future(self._consume())
        killing = asyncio.ensure_future(self._kill())

        def after(number: int) -> None:
            for run in self.frame.made:
                run.organs.books.ledger.audit()
            if number >= self.scene.end_at and not self.ended_at and self.scene.ending not in ("none", "leave"):
                self.ended_at = loop.time() or 1e-9
                self._end(running, loop)

        loop.after = after
        await asyncio.wait([running], timeout=PATIENCE)
        gave_up = not running.done()
        if gave_up:
            running.cancel()
            await asyncio.wait([running])
        over = loop.time()
        loop.after = None
        killing.cancel()
        await asyncio.wait([killing])
        self._check(running, over, gave_up)

    def _end(self, running: asyncio.Task[None], loop: SteppingLoop) -> None:
        if "stop" in self.scene.ending:
            self.frame.stop()
        if self.scene.ending.startswith("cancel"):
            running.cancel()
        if self.scene.ending in ("cancel twice", "stop and cancel"):
            loop.call_later(0.005, running.cancel)

    async def _kill(self) -> None:
        draw = random.Random(self.scene.end_at)
        for _ in range(self.scene.kills):
            await asyncio.sleep(draw.random() * 0.3)
            draw.choice(self.frame.executor.lanes).kill()

    async def _consume(self) -> None:
        scene = self.scene
        pipeline = Through(
            self._feed,
            steps=self._steps(),
            time_limit=TIME_LIMIT,
            timeout=None,
            order=key_of if scene.order == "by key" else scene.order,
            retry=scene.retry,
            async_concurrency=scene.async_concurrency,
            on_progress=self._on_progress,
            source=scene.source,
            batch_size=scene.batch_size,
            max_failures=scene.max_failures,
            dead_letter=self._dead_letter,
            **({"sink": self._sink} if scene.consumer == "sink" else {}),
        )
        if scene.consumer != "stream":
            await self.frame.run(pipeline)
            return
        async with self.frame.stream(pipeline) as results:
            async for result in results:
                self.taken.append(result)
                if scene.ending == "leave" and len(self.taken) > scene.leave_after:
                    self.ended_at = asyncio.get_running_loop().time() or 1e-9
                    break
                if scene.leave_after % 3 == 0:
                    await asyncio.sleep(0.003)

    def _steps(self) -> list[Any]:
        runs: list[Any] = []
        for run in self.scene.chain.split():
            first = self._does if self._does not in runs else passing
            if run == "def" and runs and runs[-1] is not self._waits:
                runs.append(self._waits)
            runs.append(first if run == "def" else self._waits)
        return runs

    def _does(self, item: Item) -> Any:
        if item.kind != "fails once":
            return step(item)
        if item.place not in self.tried:
            self.tried.add(item.place)
            raise ValueError(item.place)
        return item.place, True

    async def _waits(self, value: Any) -> Any:
        """An async step: some records take longer than others, and some are for it to settle."""
        place, kind = (value.place, value.kind) if isinstance(value, Item) else (value, "")
        await asyncio.sleep(place * 7919 % 13 * 0.002 if isinstance(place, int) else 0.0)
        match kind:
            case "bypasses on the loop":
                return place, False
            case "is filtered on the loop":
                return DROP
            case "raises on the loop":
                raise ValueError(place)
            case "sleeps on the loop":
                await asyncio.sleep(2 * TIME_LIMIT)
        return place if self.scene.chain == "async" else value, True

    async def _on_progress(self, watermark: int) -> None:
        await asyncio.sleep(0.001)
        self.watermarks.append(watermark)

    async def _sink(self, records: list[Any]) -> None:
        await asyncio.sleep(0.004 if self.scene.leave_after % 2 else 0)
        self.taken += records

    async def _dead_letter(self, failures: list[Failure[Any]]) -> None:
        await asyncio.sleep(0)
        self.dead += failures

    async def _feed(self) -> AsyncIterator[Any]:
        draw = random.Random(self.scene.end_at)
        self.opened += 1
        left, pause = list(self.scene.items), draw.choice([0.0, 0.1, 0.9])
        try:
            while left:
                count = draw.randint(1, 9) if draw.random() < 0.1 else 1
                items, left = left[:count], left[count:]
                given = [self._given(item) if draw.random() < 0.4 else item for item in items]
                self.fed += items
                yield Chunk(given) if len(given) > 1 or draw.random() < 0.1 else given[0]
                if draw.random() < pause:
                    await asyncio.sleep(draw.random() * 0.05)
        finally:
            try:
                await asyncio.sleep(0.01)  # where a second cancel may hit it
            finally:
                self.closed += 1

    def _given(self, item: Item) -> Delivery[Item]:
        self.handles.append(item.place)
        return self.answers.delivery(item.place, item)

    # What must hold.

    def _check(self, running: asyncio.Task[None], over: float, gave_up: bool) -> None:
        scene, executor = self.scene, self.frame.executor
        error = None if running.cancelled() else running.exception()
        assert running.cancelled() or error is None or isinstance(error, PipeFrameError), error
        assert self.closed == self.opened
        if not self.frame.made:
            assert not self.opened
            return
        report = settled(self.frame)
        assert report.fed == len(self.fed)
        if self.ended_at and not gave_up:
            assert over - self.ended_at <= LATEST, "it took too long to end"
        bad = self._check_what_came(report)
        self._check_handles()
        assert self.watermarks == sorted(set(self.watermarks))
        whole = error is None and not running.cancelled() and not self.ended_at
        if whole or (scene.ending == "stop" and not report.aborted and error is None and not running.cancelled()):
            self._check_all_came(report, bad)
        if error is not None and not self.ended_at:
            may = (isinstance(error, WorkerLost) and executor.refusals) or (
                isinstance(error, PipelineFailed) and scene.max_failures is not None and len(bad) > scene.max_failures
            )
            assert may, error
        if gave_up:
            assert executor.hangs

    def _check_what_came(self, report: RunReport) -> dict[Item, str]:
        """Nothing came twice, nothing out of order, and nobody was blamed who is not to blame."""
        expected = results_of(self.fed)
        if self.scene.order == "input":
            left = iter(expected)
            assert all(place in left for place in self.taken)
            if self.scene.max_failures is None:  # else what was dropped has left gaps
                assert self.taken == expected[: len(self.taken)]
        if self.scene.order == "by key":
            for key in range(KEYS):
                of_key = [place for place in self.taken if place % KEYS == key]
                left = iter([place for place in expected if place % KEYS == key])
                assert all(place in left for place in of_key)
        assert not Counter(self.taken) - Counter(expected)
        assert report.delivered <= len(expected)
        bad = {item: OUTCOMES[item.kind] for item in self.fed if OUTCOMES[item.kind] not in ("delivered", "filtered")}
        blamed = [failure.record for failure in self.dead]
        assert len(blamed) == len({id(record) if not isinstance(record, Item) else record for record in blamed})
        kinds: Counter[str] = Counter(bad.values())
        for failure in self.dead:
            if isinstance(failure.record, Item):
                assert bad.get(failure.record) == failure.kind, failure
        blamed_for: Counter[str] = Counter(failure.kind for failure in self.dead)
        assert not blamed_for - kinds
        return bad

    def _check_handles(self) -> None:
        answered = Counter(self.answers.acked + self.answers.nacked)
        assert answered == Counter(self.handles)
        assert not any(self.answers.failures)  # the dead letter has those that failed

    def _check_all_came(self, report: RunReport, bad: dict[Item, str]) -> None:
        """The run came to its own end: everything that was fed has the outcome it must have."""
        expected = results_of(self.fed)
        if self.scene.consumer != "counting":
            assert Counter(self.taken) == Counter(expected)
        assert (report.delivered, report.failed, report.aborted) == (len(expected), len(bad), 0)
        assert Counter(failure.kind for failure in self.dead) == Counter(bad.values())
        assert self.watermarks[-1:] == ([report.fed] if report.fed else [])
        assert sorted(self.answers.acked) == sorted(self.handles)
        if not self.ended_at:
            assert self.fed == self.scene.items


def key_of(item: Item) -> int:
    return item.place % KEYS


def play(seeds: Sequence[int]) -> None:
    """Play a simulation for each seed; an error says which one it was."""
    for seed in seeds:
        try:
            Simulation(seed).play()
        except BaseException as error:
            error.add_note(f"seed {seed}: to replay it before all others, add it to tests/engine/seeds.json")
            raise
