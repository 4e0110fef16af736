"""A run of def steps alone: which of its lines a batch is cut of, for which lane, and where its answer goes."""

from __future__ import annotations

from itertools import count
from typing import Any, cast

import pytest

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async._engine.journeys.journeys import Journeys
from pipeframe_async._engine.lanes.batch import Batch
from pipeframe_async._engine.lanes.stage import DefStage, Paths, Shared
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.journey import Journey, Part
from pipeframe_async._rules.timing import BatchClock
from pipeframe_async.plan import DefSteps
from pipeframe_async.testing import FakeExecutor
from pipeframe_async.wire import ChainSpec
from tests.engine.harness import Shelf, delivered, passing

pytestmark = pytest.mark.virtual_clock


class Bench:
    """A stage between a shelf of records, journeys without stages, and a list of answers."""

    def __init__(self, *, index: int = 0, stages: int = 1, tied: bool = False, withdrawn: bool = False) -> None:
        self.shelf = Shelf()
        self.answers: list[Answer] = []
        self.executor = FakeExecutor(2)
        chain = ChainSpec(("passing",), (passing,), None)
        self.journeys = Journeys(
            backlog=self.shelf.backlog,
            books=self.shelf.books,
            collect=self.answers.append,
            retrying=None,
            tie=None,
            keep=True,
            codec=self.executor.codec,
            step="passing",
        )
        self.stage = DefStage(
            index,
            DefSteps(("passing",), 0),
            Shared(
                executor=self.executor,
                chain=chain,
                loaded=self.executor.load(chain),
                books=self.shelf.books,
                backlog=self.shelf.backlog,
                journeys=self.journeys,
                collect=self.answers.append,
                sizer=lambda _: Sizer(fixed=2, capacity=100, capacity_bytes=2**20, slots=2),
                retrying=None,
                numbers=count(),
                keep=True,
                paths=Paths(tied=tied, withdrawn=withdrawn),
                aside=DaemonThread("aside"),
                stages=stages,
                counters={},
                batches=BatchClock(),
            ),
        )
        self.journeys.join([self.stage] * stages)

    def part(self, position: int, lane: int | None = None) -> Part:
        """A part that waits for it."""
        self.shelf.ledger.admit(1)
        self.shelf.ledger.open(position, 1, 0)
        journey = Journey(position, f"record {position}")
        journey.lane = lane
        part = journey.start()
        self.stage.put(part)
        return part

    def cut(self, lane: int = 0, *, idle: bool = True) -> Batch | None:
        return self.stage.cut(lane, idle=idle, idle_workers=2, workers=2)


FAR = 1000
"""A feed position that no record of the shelf has."""


async def test_a_part_that_comes_rings_for_the_lanes() -> None:
    bench = Bench()
    bench.part(FAR)
    assert bench.shelf.bell.rings == 1
    assert repr(bench.stage) == "<1 waiting>"


async def test_a_stretch_is_cut_of_the_feed() -> None:
    bench = Bench()
    bench.shelf.feed("a", "b", "c")
    batch = bench.cut()
    assert batch is not None
    assert (batch.first, batch.records, batch.parts) == (0, ["a", "b"], ())


async def test_parts_go_before_the_feed_since_they_are_nearer_to_their_end() -> None:
    bench = Bench()
    bench.shelf.feed("a", "b")
    part = bench.part(FAR)
    first, second = bench.cut(), bench.cut()
    assert first is not None
    assert second is not None
    assert (first.parts, second.parts, second.first) == ([part], (), 0)


async def test_a_later_stage_cuts_nothing_of_the_feed() -> None:
    bench = Bench(index=1, stages=2)
    bench.shelf.feed("a", "b")
    assert bench.cut() is None


async def test_where_records_are_told_apart_they_begin_when_a_lane_asks() -> None:
    bench = Bench(withdrawn=True)
    bench.shelf.feed("a", "b", "c")
    assert bench.journeys.alive == 0
    batch = bench.cut()
    assert batch is not None
    assert ([part.value for part in batch.parts], bench.journeys.alive) == (["a", "b"], 2)


async def test_a_tied_part_goes_to_its_lane_and_no_other() -> None:
    bench = Bench(tied=True)
    part = bench.part(FAR, lane=1)
    assert bench.cut(0) is None
    batch = bench.cut(1)
    assert batch is not None
    assert batch.parts == [part]


async def test_parts_of_one_journey_or_of_all_are_taken_out_of_every_line() -> None:
    bench = Bench(tied=True)
    one, two = bench.part(FAR, lane=0), bench.part(FAR + 1, lane=1)
    assert one.holder is not None
    assert one.holder.withdraw(one)
    assert bench.stage.clear() == [two]
    assert repr(bench.stage) == "<0 waiting>"


async def test_a_batch_that_was_carried_is_handed_on_from_its_line() -> None:
    bench = Bench()
    bench.shelf.feed("a", "b")
    batch = bench.cut()
    assert batch is not None
    answer = await bench.stage.carry(bench.executor.lanes[0], batch)
    bench.stage.hand_on(batch, answer)
    assert [(came.first, came.results) for came in bench.answers] == [(0, ["a", "b"])]
    assert answer is not None
    bench.shelf.books.settle(answer)
    bench.shelf.ledger.audit(final=True)
    await bench.executor.close(kill=False, timeout=1.0)


async def test_telling_records_apart_is_measured_and_handing_on_a_stretch_is_not() -> None:
    for stages, told in ((1, False), (2, True)):
        bench = Bench(stages=stages)
        bench.journeys.join([cast(Any, bench.stage)] * stages)
        bench.shelf.feed("a", "b")
        batch = bench.cut()
        assert batch is not None
        changes = bench.stage.sizer.measured.changes
        bench.stage.hand_on(batch, delivered(0, "A", "B"))
        assert (bench.stage.sizer.measured.changes > changes) is told
