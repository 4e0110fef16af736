"""Collect alone: answers in order, failures counted and kept, and what delivery takes."""

from __future__ import annotations

import asyncio

import pytest

from pipeframe_async._engine.delivering.collect import KEPT_FAILURES, MOST_TAKEN, Collect
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.budget import FailureBudget
from pipeframe_async._rules.ordering import AsFed, AsFinished, Sequencer
from tests.engine.harness import a_failure, delivered, failed

pytestmark = pytest.mark.virtual_clock


class Bench:
    """A collect, and how often it was tripped."""

    def __init__(self, limit: int | None = None, sequencer: Sequencer[Answer] | None = None) -> None:
        self.trips = 0
        order = AsFed[Answer]() if sequencer is None else sequencer
        self.collect = Collect(sequencer=order, budget=FailureBudget(limit), tripped=self.tripped)

    def tripped(self) -> None:
        self.trips += 1


async def test_answers_leave_in_the_order_of_the_sequencer() -> None:
    for sequencer, order in ((AsFed[Answer](), [0, 1, 2]), (AsFinished[Answer](), [2, 0, 1])):
        collect = Bench(sequencer=sequencer).collect
        for first in (2, 0, 1):
            collect.add(delivered(first, "result"))
        assert [answer.first for answer in await collect.take()] == order


async def test_who_takes_waits_for_the_first_that_may_leave() -> None:
    collect = Bench().collect
    taking = asyncio.ensure_future(collect.take())
    collect.add(delivered(1, "second"))
    await asyncio.sleep(1)
    assert not taking.done()
    collect.add(delivered(0, "first"))
    assert [answer.results for answer in await taking] == [["first"], ["second"]]


async def test_at_the_end_whoever_takes_gets_what_is_left_and_then_none() -> None:
    collect = Bench().collect
    collect.add(delivered(0, "last"))
    collect.end()
    assert len(await collect.take()) == 1
    assert await collect.take() == []


async def test_who_waits_at_the_end_gets_none() -> None:
    collect = Bench().collect
    taking = asyncio.ensure_future(collect.take())
    await asyncio.sleep(1)
    collect.end()
    assert await taking == []


async def test_of_many_answers_so_many_are_handed_on_at_once() -> None:
    collect = Bench().collect
    for first in range(MOST_TAKEN + 1):
        collect.add(delivered(first, "result"))
    assert len(await collect.take()) == MOST_TAKEN
    assert collect.more
    assert len(await collect.take()) == 1
    assert not collect.more


async def test_too_many_failures_trip_once() -> None:
    bench = Bench(limit=1)
    for first in range(4):
        assert bench.collect.failed is (first >= 2)
        bench.collect.add(failed(first, a_failure(first)))
    assert (bench.trips, bench.collect.failed) == (1, True)
    assert [failure.record for failure in bench.collect.failures] == [0, 1, 2, 3]


async def test_so_many_failures_are_kept_and_no_more() -> None:
    collect = Bench().collect
    collect.add(failed(0, *(a_failure(n) for n in range(KEPT_FAILURES - 1))))
    collect.add(failed(KEPT_FAILURES - 1, a_failure("last"), a_failure("one too many")))
    assert len(collect.failures) == KEPT_FAILURES
    assert collect.failures[-1].record == "last"
