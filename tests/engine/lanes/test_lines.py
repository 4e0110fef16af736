"""The two kinds of line by themselves: what they give to be cut, and where an answer goes from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from pipeframe_async._engine.journeys.journeys import Journeys
from pipeframe_async._engine.lanes.batch import Batch, Line
from pipeframe_async._engine.lanes.lines import MOST_ADMITTED, NO_LIMIT, FeedLine, PartLine
from pipeframe_async._engine.lanes.places import Place
from pipeframe_async._engine.settling.answer import Answer, answer_of
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.journey import Came, Journey, Part
from pipeframe_async.executors.packing import Packing
from tests.engine.harness import Shelf, a_failure, delivered

NO_PLACE = cast(Place, None)


class NotedJourneys:
    """Journeys that note what a line tells them; `put` takes a part for each record that is admitted."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.away = 0
        self.adopted: list[tuple[int, Any, Came]] = []
        self.ahead: list[tuple[int, Any, Came, int]] = []
        self.thens: list[Callable[[], object] | None] = []
        self.arrived: list[tuple[Part, Came, Any, Any]] = []
        self.put: Callable[[Part], None] = lambda part: None
        self.begun: list[int] = []

    def sorted_out(self, parts: Sequence[Part]) -> bool:
        return False

    def begin(self, parts: Sequence[Part]) -> None:
        self.begun += [part.journey.position for part in parts]

    def sent(self, records: int) -> None:
        self.away += records

    def came_back(self, records: int) -> None:
        self.away -= records

    def adopt(self, position: int, record: Any, came: Came, then: Callable[[], object] | None = None) -> None:
        self.adopted.append((position, record, came))
        self.thens.append(then)

    def go_ahead(self, position: int, record: Any, came: Came, nbytes: int, then: Callable[[], object]) -> None:
        self.ahead.append((position, record, came, nbytes))
        self.thens.append(then)

    def admit(self, wanted: Callable[[], int]) -> None:
        while (most := wanted()) > 0 and self.shelf.backlog.takable:
            lot = self.shelf.backlog.take(most)
            assert lot is not None
            for index, record in enumerate(lot.values or ()):
                self.shelf.ledger.open(lot.first + index, 1, 0)
                self.put(Journey(lot.first + index, record).start())

    def thaw(self, value: Any) -> Any:
        return value

    def came(self, part: Part, came: Came, at: Any, to: Any) -> None:
        self.arrived.append((part, came, at, to))


class FeedBench:
    """A feed line, and what it hands on."""

    def __init__(self, *, last: bool = True, capacity: int = 100) -> None:
        self.shelf = Shelf(capacity)
        self.journeys = NotedJourneys(self.shelf)
        self.collected: list[Answer] = []
        self.line = FeedLine(
            self.shelf.backlog,
            self.shelf.ledger,
            cast(Journeys, self.journeys),
            self.collected.append,
            last=last,
        )

    def batch(self, most: int) -> Batch:
        taken = self.line.take(most)
        assert taken is not None
        if taken.packed is None:
            taken.packed = Packing().pack(taken.values or (), "step")[0]
        self.line.open(taken, taken.packed.nbytes)
        return Batch(0, self.line, taken.first, taken.packed, taken.values, taken.rejected, NO_PLACE)


def test_a_feed_line_waits_ends_and_pauses_as_its_backlog_does() -> None:
    bench = FeedBench()
    line, backlog = bench.line, bench.shelf.backlog
    assert (line.waiting, line.ended, line.paused) == (0, False, False)
    bench.shelf.feed("a", "b")
    backlog.pause()
    assert (line.waiting, line.ended, line.paused) == (2, False, True)
    backlog.end()
    assert line.ended


def test_a_stretch_is_booked_as_one_and_may_bring_records_back() -> None:
    bench = FeedBench()
    bench.shelf.feed("a", "b", "c")
    batch = bench.batch(2)
    assert (batch.first, batch.records) == (0, ["a", "b"])
    assert bench.journeys.away == 2
    assert bench.shelf.ledger.in_flight_bytes == batch.packed.nbytes
    assert bench.line.room_bytes == bench.shelf.ledger.room_bytes


def test_a_stretch_that_does_not_fit_is_the_first_again() -> None:
    bench = FeedBench()
    bench.shelf.feed("a", "b", "c")
    taken = bench.line.take(2)
    assert taken is not None
    bench.line.give_back(taken)
    assert (bench.shelf.backlog.records, bench.shelf.backlog.position) == (["a", "b", "c"], 0)


def test_without_permits_for_what_is_on_disk_there_is_no_stretch() -> None:
    bench = FeedBench(capacity=1)
    bench.shelf = Shelf(1, whole=True)
    line = FeedLine(
        bench.shelf.backlog, bench.shelf.ledger, cast(Journeys, bench.journeys), bench.collected.append, last=True
    )
    bench.shelf.feed("a", "b")
    bench.shelf.backlog.end()
    assert line.take(1) is not None
    assert line.take(1) is None
    bench.shelf.backlog.close()


def test_the_answer_of_the_last_steps_goes_to_collect_as_one() -> None:
    bench = FeedBench()
    bench.shelf.feed("a", "b")
    answer = delivered(0, "A", "B")
    assert not bench.line.answered(bench.batch(2), answer)
    assert (bench.collected, bench.journeys.adopted, bench.journeys.away) == ([answer], [], 0)


def test_what_an_answer_holds_is_what_its_batch_holds_from_then_on() -> None:
    bench = FeedBench()
    bench.shelf.feed("a", "b")
    answer = delivered(0, "A", "B")
    answer.nbytes = 12_345
    bench.line.answered(bench.batch(2), answer)
    assert bench.shelf.ledger.in_flight_bytes == 12_345


def test_records_with_steps_before_them_go_on_one_by_one() -> None:
    bench = FeedBench(last=False)
    bench.shelf.feed("a", "b")
    assert bench.line.answered(bench.batch(2), delivered(0, "A", "B"))
    assert bench.collected == []
    assert [(position, record) for position, record, _ in bench.journeys.adopted] == [(0, "a"), (1, "b")]
    assert [came.results for _, _, came in bench.journeys.adopted] == [(("A", False),), (("B", False),)]
    bench.shelf.books.settle(delivered(0, "A"))
    bench.shelf.books.settle(delivered(1, "B"))
    bench.shelf.ledger.audit(final=True)


def portion_of(first: int, count: int, results: list[Any], spans: dict[int, int], taken: list[str]) -> Answer:
    """Of the record behind the last one, all results that `spans` does not give to others."""
    return answer_of(
        first,
        count,
        delivered=len(results),
        bypassed=0,
        filtered=0,
        results=results,
        spans=spans,
        grown={count: spans[count]} if spans[count] else {},
        nbytes=1_000,
        then=lambda: taken.append("portion"),
    )


def test_of_a_portion_what_is_under_way_goes_ahead_and_the_rest_alone_later() -> None:
    bench, taken = FeedBench(last=False), list[str]()
    bench.shelf.feed("a", "b")
    batch = bench.batch(2)
    before = bench.shelf.ledger.in_flight_bytes
    assert bench.line._portion(batch, portion_of(0, 0, ["x", "y"], {0: 2}, taken)) is False
    ((position, record, came, nbytes),) = bench.journeys.ahead
    assert (position, record, came, nbytes) == (0, "a", Came((("x", False), ("y", False))), 1_000)
    assert bench.shelf.ledger.in_flight_bytes == before + 1_000
    (then,) = bench.journeys.thens
    assert then is not None
    then()
    assert taken == ["portion"]
    bench.line.answered(batch, delivered(0, "A", "B"))
    assert [(position, record) for position, record, _ in bench.journeys.adopted] == [(0, "a"), (1, "b")]


def test_a_portion_is_taken_when_all_its_records_are() -> None:
    bench, taken = FeedBench(last=False), list[str]()
    bench.shelf.feed(*"abcd")
    batch = bench.batch(4)
    bench.line._portion(batch, portion_of(0, 2, ["A", "B"], {2: 0}, taken))
    assert [(position, record) for position, record, _ in bench.journeys.adopted] == [(0, "a"), (1, "b")]
    assert bench.journeys.ahead == []  # nothing has come of the one under way
    for left in (1, 0):
        assert taken == []
        then = bench.journeys.thens[left]
        assert then is not None
        then()
    assert taken == ["portion"]
    bench.line.answered(batch, delivered(2, "C", "D"))
    assert [(position, record) for position, record, _ in bench.journeys.adopted[2:]] == [(2, "c"), (3, "d")]
    for position in range(4):
        bench.shelf.books.settle(delivered(position, "x"))
    bench.shelf.ledger.audit(final=True)


def test_of_a_portion_with_both_the_records_at_their_end_hold_the_bytes() -> None:
    bench, taken = FeedBench(last=False), list[str]()
    bench.shelf.feed(*"ab")
    bench.line._portion(bench.batch(2), portion_of(0, 1, ["A", "x", "y"], {1: 2}, taken))
    assert [position for position, _, _ in bench.journeys.adopted] == [0]
    assert bench.journeys.ahead == [(1, "b", Came((("x", False), ("y", False))), 0)]
    assert len(bench.journeys.thens) == 2


def test_a_record_with_another_attempt_goes_on_and_the_stretches_around_it_are_collected() -> None:
    bench = FeedBench()
    bench.shelf.feed(*"abcd")
    answer = answer_of(
        0,
        4,
        delivered=3,
        bypassed=0,
        filtered=0,
        results=["A", "C", "D"],
        failures=[(1, a_failure("b"))],
        spans={1: 0},
        again={1},
    )
    assert bench.line.answered(bench.batch(4), answer)
    assert [(part.first, part.results) for part in bench.collected] == [(0, ["A"]), (2, ["C", "D"])]
    ((position, record, came),) = bench.journeys.adopted
    assert (position, record, came.again) == (1, "b", True)
    for part in bench.collected:
        bench.shelf.books.settle(part)
    assert bench.shelf.ledger.in_flight == 1


# Parts.


class PartBench:
    """A line of parts, and what it hands on."""

    def __init__(self, *, index: int = 0, admits: bool = False, tied: bool = False, size: int = 3) -> None:
        self.shelf = Shelf(1000)
        self.journeys = NotedJourneys(self.shelf)
        sizer = Sizer(fixed=size, capacity=1000, capacity_bytes=2**20, slots=1)
        self.line = PartLine(
            index,
            backlog=self.shelf.backlog,
            ledger=self.shelf.ledger,
            journeys=cast(Journeys, self.journeys),
            sizer=lambda: sizer,
            admits=admits,
            tied=tied,
        )
        self.journeys.put = self.line.append

    def part(self, position: int, value: Any) -> Part:
        """A part that waits here, whose record is open in the ledger."""
        self.shelf.ledger.admit(1)
        self.shelf.ledger.open(position, 1, 0)
        part = Journey(position, f"record {position}").start()
        part.value = value
        self.line.append(part)
        return part


def test_parts_wait_in_the_order_they_came_and_stay_until_they_are_a_batch() -> None:
    bench = PartBench()
    parts = [bench.part(n, n * 10) for n in range(3)]
    taken = bench.line.take(2)
    assert (taken.values, taken.parts) == ([0, 10], parts[:2])
    bench.line.give_back(taken)
    assert (len(bench.line), bench.journeys.begun) == (3, [])
    bench.line.open(taken, 100)
    assert bench.journeys.begun == [0, 1]
    assert (len(bench.line), bench.line.take(9).parts) == (1, parts[2:])


def test_parts_that_begin_book_their_bytes_and_others_hold_theirs_already() -> None:
    for index, booked in ((0, 100), (1, 0)):
        bench = PartBench(index=index)
        bench.part(0, "a")
        bench.part(1, "b")
        bench.line.open(bench.line.take(2), 100)
        assert bench.shelf.ledger.in_flight_bytes == booked


def test_parts_that_began_before_may_take_any_number_of_bytes() -> None:
    assert PartBench().line.room_bytes == NO_LIMIT
    bench = PartBench(admits=True)
    assert bench.line.room_bytes == bench.shelf.ledger.room_bytes


def test_a_line_of_parts_is_always_paused_since_nobody_knows_when_the_next_will_come() -> None:
    assert PartBench().line.paused


def test_parts_of_one_journey_or_of_all_are_taken_out() -> None:
    bench = PartBench()
    first, second, third = (bench.part(n, n) for n in range(3))
    assert second.holder is bench.line
    assert bench.line.withdraw(second)
    assert bench.line.clear() == [first, third]
    assert len(bench.line) == 0


async def test_records_begin_here_until_there_is_a_batch_of_them() -> None:
    bench = PartBench(admits=True, size=3)
    bench.shelf.feed(*range(10))
    bench.line.fill()
    assert (len(bench.line), bench.shelf.backlog.position) == (3, 3)
    bench.line.fill()
    assert len(bench.line) == 3


async def test_what_waits_counts_records_that_will_be_parts_here_where_all_of_them_will() -> None:
    for tied, waiting in ((False, 10), (True, 3)):
        bench = PartBench(admits=True, tied=tied)
        bench.shelf.feed(*range(10))
        assert bench.line.waiting == 0  # nobody has begun yet
        bench.line.fill()
        assert bench.line.waiting == waiting


@pytest.mark.virtual_clock
async def test_records_that_go_to_other_lines_are_let_in_so_many_a_turn() -> None:
    bench = PartBench(admits=True, tied=True)
    bench.journeys.put = lambda part: None  # all are somebody else's
    bench.shelf.feed(*range(250))
    for begun in (MOST_ADMITTED, 2 * MOST_ADMITTED):
        rings = bench.shelf.bell.rings
        bench.line.fill()
        assert bench.shelf.backlog.position == begun
        await asyncio.sleep(0)
        assert bench.shelf.bell.rings == rings + 1
    bench.line.fill()
    assert bench.shelf.backlog.position == 250


def test_a_line_that_does_not_admit_lets_nobody_begin() -> None:
    bench = PartBench()
    bench.shelf.feed(1)
    bench.line.fill()
    assert bench.shelf.backlog.position == 0


def test_it_ends_with_the_feed() -> None:
    bench = PartBench()
    assert not bench.line.ended
    bench.shelf.backlog.end()
    assert bench.line.ended


def test_each_part_goes_on_with_what_it_came_to() -> None:
    bench = PartBench(index=2)
    parts = [bench.part(n, n) for n in range(2)]
    taken = bench.line.take(2)
    bench.line.open(taken, 0)
    packed = Packing().pack([0, 1], "step")[0]
    batch = Batch(0, cast(Line, bench.line), -1, packed, [0, 1], {}, NO_PLACE, parts=taken.parts)
    answer = delivered(-1, "A", "B")
    answer.nbytes = 200
    assert bench.line.answered(batch, answer)
    assert [(part, came.results, at, to) for part, came, at, to in bench.journeys.arrived] == [
        (parts[0], (("A", False),), (2, 0), (3, 0)),
        (parts[1], (("B", False),), (2, 0), (3, 0)),
    ]
    assert bench.shelf.ledger.in_flight_bytes == 200


def test_a_journey_with_other_parts_does_not_hold_what_one_of_them_came_to() -> None:
    bench = PartBench(index=1)
    part = bench.part(0, 0)
    part.journey.start()  # another part of it
    taken = bench.line.take(1)
    bench.line.open(taken, 0)
    batch = Batch(0, cast(Line, bench.line), -1, Packing().pack([0], "step")[0], [0], {}, NO_PLACE, parts=taken.parts)
    answer = delivered(-1, "A")
    answer.nbytes = 200
    bench.line.answered(batch, answer)
    assert bench.shelf.ledger.in_flight_bytes == 0
