"""The cutter alone, on a line that is a list: what it takes, packs, books and gives back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, cast

import pytest

from pipeframe_async._engine.lanes.batch import Batch, Taken
from pipeframe_async._engine.lanes.cut import Cutter
from pipeframe_async._engine.lanes.places import Place, Places
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.batching import Sizer
from pipeframe_async.contracts import Codec
from pipeframe_async.executors.packing import Packing
from pipeframe_async.wire import ChainRef, Live
from tests.engine.harness import Shelf, delivered


class ListedLine:
    """A line of records that are there; it books what it is told in a shelf's ledger."""

    def __init__(self, shelf: Shelf, records: list[Any]) -> None:
        self.records = records
        self.ended = False
        self.paused = True
        self.filled = 0
        self.opened: list[tuple[int, int]] = []
        self.given_back: list[int] = []
        self.no_room = False
        self.taken = 0
        self._shelf = shelf
        shelf.ledger.admit(len(records))

    def fill(self) -> None:
        self.filled += 1

    @property
    def waiting(self) -> int:
        return len(self.records)

    @property
    def room_bytes(self) -> int:
        return self._shelf.ledger.room_bytes

    def take(self, most: int) -> Taken | None:
        if self.no_room:
            return None
        taken, self.records = Taken(self.records[:most], self.taken), self.records[most:]
        self.taken += most
        return taken

    def give_back(self, taken: Taken) -> None:
        values = list(taken.values or ())
        self.given_back.append(len(values))
        self.records = values + self.records
        self.taken -= len(values)

    def open(self, taken: Taken, nbytes: int) -> None:
        assert taken.packed is not None
        self.opened.append((taken.packed.records, nbytes))
        self._shelf.ledger.open(taken.first, taken.packed.records, nbytes)

    def answered(self, batch: Batch, answer: Answer) -> bool:
        raise AssertionError("nothing is answered here")


class OnePlace:
    """Places, where there is one."""

    def __init__(self, sizer: Sizer, codec: Codec) -> None:
        self.now = Place(codec, ChainRef("chain", None), sizer)

    def of(self, lane: int) -> Place:
        return self.now


Bench = Callable[..., tuple[Cutter, ListedLine, Shelf]]


@pytest.fixture
def bench() -> Bench:
    """A cutter, its line and the shelf they book in."""

    def made(
        records: list[Any],
        *,
        size: int = 2,
        capacity_bytes: int = 2**20,
        codec: Codec | None = None,
        ship: bool = False,
    ) -> tuple[Cutter, ListedLine, Shelf]:
        shelf = Shelf(100, capacity_bytes)
        sizer = Sizer(fixed=size, capacity=100, capacity_bytes=capacity_bytes, slots=1)
        places = cast(Places, OnePlace(sizer, codec or Packing()))
        cutter = Cutter(places=places, step="step", books=shelf.books, ship=ship, numbers=count())
        return cutter, ListedLine(shelf, records), shelf

    return made


def cut(cutter: Cutter, line: ListedLine, *, idle: bool = True, idle_workers: int = 1) -> Batch | None:
    return cutter.cut(line, 0, idle=idle, idle_workers=idle_workers, workers=2)


def test_a_batch_has_the_first_records_their_bytes_and_their_place(bench: Bench) -> None:
    cutter, line, _ = bench(["a", "b", "c"])
    batch = cut(cutter, line)
    assert batch is not None
    assert (batch.first, batch.records, batch.count) == (0, ["a", "b"], 2)
    assert (batch.line, line.records) == (line, ["c"])
    assert line.opened == [(2, batch.packed.nbytes)]


def test_batches_are_numbered_as_they_are_cut(bench: Bench) -> None:
    cutter, line, _ = bench(list("abcdef"))
    batches = [cut(cutter, line) for _ in range(3)]
    assert [batch and batch.number for batch in batches] == [0, 1, 2]


def test_a_line_is_filled_before_it_is_looked_at(bench: Bench) -> None:
    cutter, line, _ = bench([])
    assert cut(cutter, line) is None
    assert line.filled == 1


def test_less_than_a_batch_waits_for_the_feed_to_pause(bench: Bench) -> None:
    cutter, line, _ = bench(["a"])
    line.paused = False
    assert cut(cutter, line) is None
    assert (line.records, line.opened) == (["a"], [])
    line.paused = True
    assert cut(cutter, line) is not None


def test_a_lane_at_work_gets_nothing_while_another_is_idle(bench: Bench) -> None:
    cutter, line, _ = bench(["a", "b"])
    assert cut(cutter, line, idle=False, idle_workers=1) is None


def test_what_turns_out_too_large_goes_back_and_waits_for_bytes(bench: Bench) -> None:
    cutter, line, shelf = bench([bytes(400), bytes(400)], capacity_bytes=1000)
    shelf.ledger.admit(1)
    shelf.ledger.open(99, 1, 500)
    rings = shelf.bell.rings
    assert cut(cutter, line) is None
    assert (line.given_back, len(line.records), line.opened) == ([2], 2, [])
    shelf.books.settle(delivered(99, None))
    assert shelf.bell.rings == rings + 1


def test_what_turns_out_too_large_goes_in_halves_where_nothing_could_free_any(bench: Bench) -> None:
    cutter, line, _ = bench([bytes(400) for _ in range(4)], size=4, capacity_bytes=1000)
    batch = cut(cutter, line)
    assert batch is not None
    assert (batch.count, line.given_back, len(line.records)) == (2, [4], 2)


def test_one_record_larger_than_the_whole_buffer_goes_alone(bench: Bench) -> None:
    cutter, line, shelf = bench([bytes(5000), b"small"], capacity_bytes=1000)
    batch = cut(cutter, line)
    assert batch is not None
    assert (batch.count, batch.rejected, line.records) == (1, {}, [b"small"])
    shelf.ledger.admit(1)
    shelf.ledger.open(99, 1, batch.packed.nbytes)
    assert cut(cutter, line) is None  # as long as it is there


def test_a_record_without_a_pickle_is_rejected_in_its_place(bench: Bench) -> None:
    bad = lambda: None  # noqa: E731
    cutter, line, _ = bench(["a", bad])
    batch = cut(cutter, line)
    assert batch is not None
    assert [(at, failure.kind, failure.step) for at, failure in batch.rejected.items()] == [(1, "unpicklable", "step")]
    assert batch.packed.framed


def test_where_the_line_has_no_room_whoever_frees_some_rings(bench: Bench) -> None:
    cutter, line, shelf = bench(["a", "b"])
    line.no_room = True
    assert cut(cutter, line) is None
    shelf.ledger.admit(1)
    shelf.ledger.open(99, 1, 0)
    shelf.books.settle(delivered(99, None))
    assert shelf.bell.rings == 1


def test_bytes_that_are_there_are_not_made_again(bench: Bench) -> None:
    cutter, line, _ = bench(["a", "b"])
    packed = Packing().pack_frames(["x", "y"], "step")[0]
    line.take = lambda most: Taken(None, 0, packed=packed)  # type: ignore[method-assign]
    batch = cut(cutter, line)
    assert batch is not None
    assert (batch.packed, batch.records, batch.packing) == (packed, None, 0.0)


def test_room_for_what_results_are_likely_to_hold_is_booked_where_they_come_back(bench: Bench) -> None:
    for ship, booked in ((True, 6000), (False, None)):
        cutter, line, shelf = bench(["a", "b"], ship=ship)
        places = cast(Any, cutter)._places
        places.now.sizer.replied(10, 30_000, 1.0)
        batch = cut(cutter, line)
        assert batch is not None
        assert shelf.ledger.in_flight_bytes == (booked or batch.packed.nbytes)


def test_live_records_are_weighed_and_the_sizer_learns_of_it(bench: Bench) -> None:
    cutter, line, _ = bench(["a" * 1000, "b" * 1000], codec=Packing(live=True))
    batch = cut(cutter, line)
    assert batch is not None
    assert isinstance(batch.packed.data, Live)
    assert batch.packed.data.values == ["a" * 1000, "b" * 1000]
    assert 2000 <= batch.packed.nbytes <= 2100
    assert 1000 <= batch.place.sizer.measured.record_bytes <= 1050
