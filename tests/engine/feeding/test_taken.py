"""Sources that are asked for as many records as there is room for, and records that have failed before any step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from pipeframe_async import ConfigError, Delivery, Failure, PipelineEngine, SourceCounts
from tests.engine.harness import FakeFrame, settled


class Asked:
    """A live source of so many records; each seventh has been delivered too often."""

    live = True
    lease = 10.0

    def __init__(self, records: int) -> None:
        self._left = list(range(records))
        self.rooms: list[int] = []
        self.acked: list[int] = []
        self.nacked: list[tuple[int, str | None]] = []

    async def take(self, room: int) -> list[Delivery[int]] | None:
        self.rooms.append(room)
        await asyncio.sleep(0.001)
        some, self._left = self._left[:room], self._left[room:]
        return [self._delivery(record) for record in some] or None

    def _delivery(self, record: int) -> Delivery[int]:
        failure = Failure(record, "feed", "poison", "Poison", "too often") if record % 7 == 3 else None
        return Delivery(record, record, partial(self.acked.append, record), partial(self._nack, record), None, failure)

    def _nack(self, record: int, failure: Failure[int] | None) -> None:
        self.nacked.append((record, None if failure is None else failure.kind))

    def counts(self) -> SourceCounts:
        return SourceCounts(unacked=3, redelivered=2, reconnects=1, lag=len(self._left))


def same(record: int) -> tuple[int, bool]:
    return record, True


async def later(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0.001)
    return record, True


class Kept(PipelineEngine[int, int]):
    """What the sink and the dead letter got."""

    def __init__(self, feed: Any, *steps: Any, **knobs: Any) -> None:
        self.feed, self.steps = feed, steps
        self.taken: list[int] = []
        self.failures: list[Failure[int]] = []
        for name, value in knobs.items():
            setattr(self, name, value)

    async def sink(self, records: list[int]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.failures += failures


@pytest.mark.virtual_clock
@pytest.mark.parametrize("source", ["stream", "batch"])
@pytest.mark.parametrize(
    "order", ["completion", "input", lambda record: record % 3], ids=["completion", "input", "key"]
)
@pytest.mark.parametrize(
    "steps", [(same,), (later,), (same, later), (later, same)], ids=["def", "async", "def-async", "async-def"]
)
async def test_records_that_have_failed_are_given_to_no_step(
    steps: tuple[Callable[..., Any], ...], order: Any, source: str
) -> None:
    feed = Asked(100)
    pipeline, frame = Kept(feed, *steps, order=order, source=source), FakeFrame(buffer_size=20)
    await frame.run(pipeline)
    poison = [record for record in range(100) if record % 7 == 3]
    assert sorted(pipeline.taken) == [record for record in range(100) if record not in poison]
    assert sorted(failure.record for failure in pipeline.failures) == poison
    assert {(failure.kind, failure.step) for failure in pipeline.failures} == {("poison", "feed")}
    assert sorted(feed.acked) == list(range(100))
    assert not feed.nacked
    settled(frame)


@pytest.mark.virtual_clock
async def test_results_keep_the_order_of_the_feed_around_them() -> None:
    pipeline = Kept(Asked(30), same, order="input")
    await FakeFrame(buffer_size=8).run(pipeline)
    assert pipeline.taken == [record for record in range(30) if record % 7 != 3]


@pytest.mark.virtual_clock
async def test_without_a_dead_letter_they_are_nacked_with_their_failure() -> None:
    feed = Asked(5)
    await FakeFrame().run(Kept(feed, same, dead_letter=None))
    assert feed.nacked == [(3, "poison")]


@pytest.mark.virtual_clock
async def test_it_is_asked_for_no_more_than_there_is_room_for_and_not_for_each_record() -> None:
    feed = Asked(400)
    await FakeFrame(buffer_size=40).run(Kept(feed, later))
    assert max(feed.rooms) <= 40
    assert len(feed.rooms) < 60


@pytest.mark.virtual_clock
async def test_what_it_says_of_its_server_is_in_stats_and_report() -> None:
    frame = FakeFrame()
    report = await frame.run(Kept(Asked(10), same))
    assert (report.redelivered, report.reconnects, report.lag) == (2, 1, 0)
    assert "redelivered 2" in str(report)
    assert "reconnects 1" in str(report)


async def test_a_time_limit_must_fit_its_lease_same() -> None:
    with pytest.raises(ConfigError, match=r"Kept\.time_limit=6.*after 10 s.*12"):
        await FakeFrame().run(Kept(Asked(1), same, time_limit=6.0))
    await FakeFrame().run(Kept(Asked(1), same, time_limit=5.0))


@pytest.mark.virtual_clock
async def test_the_take_of_what_does_not_say_that_it_streams_is_its_own_affair() -> None:
    class Numbers:
        async def __aiter__(self) -> AsyncIterator[int]:
            for number in range(5):
                yield number

        async def take(self, most: int) -> list[int]:
            raise AssertionError("it was asked")

    pipeline = Kept(Numbers(), same)
    await FakeFrame().run(pipeline)
    assert pipeline.taken == list(range(5))
