"""The sentence about a bottleneck is of what was measured: the feed is named where it was waited for, and only then."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeframe_async import Chunk, Delivery, PipeFrame, PipelineEngine, Retry


def quick(n: int) -> Any:
    return n, True


class Quick(PipelineEngine[int, int]):
    source, timeout = "stream", None
    steps: Any = (quick,)
    feed: Any = range(50)


def slow_over_one(n: int) -> Any:
    time.sleep(1.5 if n == 30 else 0.001)
    return n, True


class Straggler(Quick):
    steps = (slow_over_one,)


class Waits(Quick):
    async def feed(self) -> AsyncIterator[int]:
        for n in range(10):
            await asyncio.sleep(0.1)
            yield n


class Blocks(Quick):
    def feed(self) -> Any:
        for n in range(10):
            time.sleep(0.1)
            yield n


class Loads(Quick):
    def setup(self) -> None:
        time.sleep(1.5)


def fails_once(n: int) -> Any:
    raise OSError("come again")


class Comes(Quick):
    steps = (fails_once,)
    feed = (1,)
    max_failures = None
    retry = Retry(2, on=(OSError,), backoff=1.0, jitter=False)


def dies(n: int) -> Any:
    if n == 5:
        time.sleep(1.0)
        os._exit(1)
    return n, True


class Dies(Quick):
    steps = (dies,)
    max_failures = None


async def slow_ack() -> None:
    await asyncio.sleep(0.1)


class Acks(Quick):
    """More of them than may be under way at a time, at the end."""

    async def feed(self) -> AsyncIterator[Delivery[int]]:
        for n in range(200):
            yield Delivery(n, ack=slow_ack)


class AcksOfFew(Quick):
    """One has to return before the feed is asked again."""

    async def feed(self) -> AsyncIterator[Chunk[Delivery[int]]]:
        for n in range(5):
            yield Chunk([Delivery(n, ack=slow_ack)] * 200)


class AcksThatBlock(Quick):
    async def feed(self) -> AsyncIterator[Delivery[int]]:
        for n in range(40):
            yield Delivery(n, ack=lambda: time.sleep(0.01))


class AcksOfAFeedThatIsWaitedFor(Quick):
    async def feed(self) -> AsyncIterator[Delivery[int]]:
        for n in range(8):
            await asyncio.sleep(0.13)
            yield Delivery(n, ack=slow_ack)


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (Acks, "acks and nacks, which had "),
        (AcksOfFew, "acks and nacks, which had "),
        (AcksThatBlock, "acks and nacks, which had "),
        (AcksOfAFeedThatIsWaitedFor, "the feed, at work or waiting for its source for "),
        (Straggler, "one record, at feed position 30: step 'slow_over_one' took 1.5"),
        (Waits, "the feed, at work or waiting for its source for "),
        (Blocks, "the feed, at work or waiting for its source for "),
        (Loads, "loading the steps and setup, which took 1.5"),
        (Comes, "waiting for the next attempt of records that failed, 1.0"),
        (Dies, "workers that died or were ended over a record, "),
    ],
)
async def test_what_took_most_of_the_time_is_named(pipeline: type[Quick], said: str) -> None:
    async with PipeFrame(2, buffer_size=200) as frame:
        await frame.run(Quick)  # workers are there
        report = await frame.run(pipeline)
    assert report.bottleneck.startswith(f"Bottleneck: {said}")
    if pipeline is Straggler:
        (step,) = report.steps
        assert (step.slowest, step.max > 1.4) == (30, True)
    if pipeline is Loads:
        assert 1.4 < report.setup < 3
        assert "setup took 1.5" in str(report)


async def test_starting_workers_and_short_runs_are_no_feed() -> None:
    report = await PipeFrame(2).run(Quick)
    assert "the feed" not in report.bottleneck.split(":")[1]
