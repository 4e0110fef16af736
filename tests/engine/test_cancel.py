"""A run cancelled at any moment: after every single step of every task it is made of, one run for each.

What must hold is the same each time: the books balance, the feed is closed, every delivery has one answer,
and no task is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from pipeframe_async import DROP, Chunk, Delivery, PipeFrameError
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, SteppingLoop, Through, settled, stepped

RECORDS = 9


def mixed(record: int) -> Any:
    """Of nine records: a filtered one, a bypassed one, a failure, one made three; the others pass."""
    match record:
        case 2:
            return DROP
        case 3:
            return record, False
        case 4:
            raise ValueError(record)
        case 6:
            return (((record, True)) for _ in range(3))
        case _:
            return record, True


class Handed:
    """Deliveries handed to a run, and the answers they got."""

    def __init__(self) -> None:
        self.opened = self.exhausted = self.cleaned = self.closed = 0
        self.handed: list[int] = []
        self.acked: list[int] = []
        self.nacked: list[int] = []
        self.taken: list[int] = []

    def delivery(self, number: int) -> Delivery[int]:
        async def ack() -> None:
            await asyncio.sleep(0.01)
            self.acked.append(number)

        async def nack(failure: object) -> None:
            await asyncio.sleep(0.01)
            self.nacked.append(number)

        return Delivery(number, None, ack, nack)

    async def singles(self) -> AsyncIterator[Delivery[int]]:
        self.opened += 1
        try:
            for number in range(RECORDS):
                self.handed.append(number)
                yield self.delivery(number)
                if number % 3 == 0:
                    await asyncio.sleep(0.01)
            self.exhausted += 1
        finally:
            await self.clean_up()

    async def chunks(self) -> AsyncIterator[Chunk[Delivery[int]]]:
        self.opened += 1
        try:
            for first in range(0, RECORDS, 5):
                numbers = range(first, min(first + 5, RECORDS))
                self.handed += numbers
                yield Chunk([self.delivery(number) for number in numbers])
                await asyncio.sleep(0.01)
            self.exhausted += 1
        finally:
            await self.clean_up()

    async def bucket(self, bucket: Any) -> None:
        self.opened += 1
        try:
            for number in range(RECORDS):
                await bucket.put(self.delivery(number))
                self.handed.append(number)
                if number % 3 == 0:
                    await asyncio.sleep(0.01)
            self.exhausted += 1
        finally:
            await self.clean_up()

    async def clean_up(self) -> None:
        try:
            await asyncio.sleep(0.01)
            self.cleaned += 1
        finally:
            self.closed += 1

    async def sink(self, records: list[int]) -> None:
        await asyncio.sleep(0.01)
        self.taken += records

    async def dead_letter(self, failures: list[Any]) -> None:
        await asyncio.sleep(0.01)


Scenario = Callable[[FakeFrame, Handed], Awaitable[None]]


def running(feed: str, **knobs: Any) -> Scenario:
    async def scenario(frame: FakeFrame, handed: Handed) -> None:
        pipeline = Through(
            getattr(handed, feed), steps=(mixed,), sink=handed.sink, dead_letter=handed.dead_letter, **knobs
        )
        await frame.run(pipeline)

    return scenario


def streaming(feed: str, **knobs: Any) -> Scenario:
    async def scenario(frame: FakeFrame, handed: Handed) -> None:
        pipeline = Through(getattr(handed, feed), steps=(mixed,), max_failures=None, **knobs)
        async with frame.stream(pipeline) as results:
            async for record in results:
                handed.taken.append(record)
                await asyncio.sleep(0.005)

    return scenario


SCENARIOS: dict[str, Scenario] = {
    "run": running("singles"),
    "run of chunks": running("chunks"),
    "run of a bucket": running("bucket"),
    "run by completion": running("chunks", order="completion"),
    "batch": running("singles", source="batch"),
    "batch of chunks": running("chunks", source="batch"),
    "stream": streaming("singles"),
    "stream of chunks": streaming("chunks"),
}


def healthy() -> FakeExecutor:
    return FakeExecutor(2, slots=1, delay=lambda number, records: 0.02)


def mortal() -> FakeExecutor:
    """Workers that are killed, that die of record 5, and that are ended over record 7."""
    return FakeExecutor(
        2,
        slots=2,
        delay=lambda number, records: 0.02,
        start_seconds=0.03,
        deaths={0, 3},
        poison=lambda record: record == 5,
        stuck=lambda record: record == 7,
    )


MORTAL: dict[str, Scenario] = {
    "run": running("chunks", time_limit=0.05, max_failures=None),
    "run by completion": running("singles", order="completion", time_limit=0.05, max_failures=None),
    "batch": running("chunks", source="batch", time_limit=0.05, batch_size=4, max_failures=None),
    "stream": streaming("chunks", time_limit=0.05),
}


def checked(frame: FakeFrame, handed: Handed) -> None:
    assert handed.closed == handed.opened
    if not frame.made:
        assert not handed.opened
        return
    report = settled(frame)
    assert report.fed == len(handed.handed)
    assert sorted(handed.acked + handed.nacked) == handed.handed
    assert report.delivered <= len(handed.taken)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others


def interrupted(
    scenario: Scenario,
    at: int,
    how: Callable[[FakeFrame, asyncio.Task[None]], object],
    executor: Callable[[], FakeExecutor] = healthy,
) -> bool:
    """Run a scenario and interrupt it after step `at`; False where it had ended before."""
    hit = False

    async def main(loop: SteppingLoop) -> None:
        nonlocal hit
        frame = FakeFrame(executor(), buffer_size=3 if executor is healthy else 6)
        handed = Handed()
        task = asyncio.ensure_future(scenario(frame, handed))

        def after(step: int) -> None:
            nonlocal hit
            for run in frame.made:
                run.organs.books.ledger.audit()
            if step == at and not task.done():
                hit = True
                how(frame, task)

        loop.after = after
        await asyncio.wait([task])
        loop.after = None
        if not task.cancelled() and (error := task.exception()) is not None:
            assert isinstance(error, PipeFrameError), error
            assert error.report is not None
        checked(frame, handed)
        # An interruption may hit the clean-up of a feed that was ending anyhow; one that it has caused it leaves alone.
        assert handed.exhausted or how is cancel_twice or handed.cleaned == handed.opened

    try:
        stepped(main)
    except BaseException as error:
        error.add_note(f"interrupted after step {at}")
        raise
    return hit


def cancel(frame: FakeFrame, task: asyncio.Task[None]) -> None:
    task.cancel()


def cancel_twice(frame: FakeFrame, task: asyncio.Task[None]) -> None:
    """The second one a little later, while the first is being seen to."""
    task.cancel()
    asyncio.get_running_loop().call_later(0.005, task.cancel)


def stop(frame: FakeFrame, task: asyncio.Task[None]) -> None:
    frame.stop()


def stop_and_cancel(frame: FakeFrame, task: asyncio.Task[None]) -> None:
    frame.stop()
    asyncio.get_running_loop().call_later(0.005, task.cancel)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_cancelled_after_any_step_it_leaves_nothing(scenario: str) -> None:
    step = 1
    while interrupted(SCENARIOS[scenario], step, cancel):
        step += 1
    assert step > 50


@pytest.mark.parametrize("how", [cancel_twice, stop, stop_and_cancel])
@pytest.mark.parametrize("scenario", ["run of chunks", "run of a bucket", "stream"])
def test_interrupted_otherwise_after_any_step_it_leaves_nothing(scenario: str, how: Any) -> None:
    step = 1
    while interrupted(SCENARIOS[scenario], step, how):
        step += 3
    assert step > 50


@pytest.mark.parametrize("scenario", MORTAL)
def test_cancelled_after_any_step_while_workers_die_it_leaves_nothing(scenario: str) -> None:
    step = 1
    while interrupted(MORTAL[scenario], step, cancel, mortal):
        step += 1
    assert step > 80


@pytest.mark.parametrize("how", [cancel_twice, stop, stop_and_cancel])
@pytest.mark.parametrize("scenario", ["run", "stream"])
def test_interrupted_otherwise_after_any_step_while_workers_die_it_leaves_nothing(scenario: str, how: Any) -> None:
    step = 1
    while interrupted(MORTAL[scenario], step, how, mortal):
        step += 3
    assert step > 80


@pytest.mark.parametrize("scenario", MORTAL)
def test_uninterrupted_they_lose_only_what_kills(scenario: str) -> None:
    async def main(loop: SteppingLoop) -> None:
        frame, handed = FakeFrame(mortal(), buffer_size=6), Handed()
        await MORTAL[scenario](frame, handed)
        checked(frame, handed)
        # A dead letter has those that failed, where there is one; nobody has those of a stream.
        assert sorted(handed.nacked) == ([4, 5, 7] if scenario == "stream" else [])
        assert sorted(handed.taken) == [0, 1, 3, 6, 6, 6, 8]
        assert frame.executor.restarts

    stepped(main)
