"""The queue between intake and those who take: positions, permits, what is on disk, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async import InternalError
from pipeframe_async._engine.feeding.backlog import Lot
from pipeframe_async.executors.packing import Packing
from pipeframe_async.wire import Reply
from tests.engine.harness import Shelf

CODEC = Packing()


def values(lot: Lot | None) -> list[Any]:
    """The records of a lot, wherever they were."""
    assert lot is not None
    if lot.values is not None:
        return lot.values
    assert lot.packed is not None
    return CODEC.unpack(Reply(lot.packed.records, results=lot.packed.data), "step")[0]


def test_records_are_taken_in_feed_order_and_know_their_positions() -> None:
    shelf = Shelf()
    shelf.feed(*"abcde")
    first, second = shelf.backlog.take(2), shelf.backlog.take(9)
    assert first is not None
    assert second is not None
    assert (first.first, first.values) == (0, ["a", "b"])
    assert (second.first, second.values) == (2, ["c", "d", "e"])
    assert (shelf.backlog.position, shelf.backlog.entered) == (5, 5)


def test_the_next_record_fed_has_the_position_after_all_that_were() -> None:
    shelf = Shelf()
    shelf.feed(*"abc")
    shelf.backlog.take(2)
    shelf.feed("d")
    assert (shelf.backlog.position, shelf.backlog.entered, shelf.backlog.waiting) == (2, 4, 2)


def test_what_was_appended_is_booked_at_the_next_look_and_once() -> None:
    shelf = Shelf()
    shelf.backlog.records += [1, 2, 3]
    assert (shelf.backlog.unbooked, shelf.ledger.fed) == (3, 0)
    shelf.backlog.note()
    shelf.backlog.note()
    assert (shelf.backlog.unbooked, shelf.ledger.fed, shelf.ledger.in_flight) == (0, 3, 3)


def test_taking_books_what_nobody_has_looked_at() -> None:
    shelf = Shelf()
    shelf.backlog.records += [1, 2, 3]
    shelf.backlog.take(2)
    assert (shelf.ledger.fed, shelf.backlog.unbooked) == (3, 0)


def test_taking_from_memory_rings_for_those_who_wait_for_room() -> None:
    shelf = Shelf()
    rung: list[bool] = []
    shelf.books.freed.ring = lambda: rung.append(True) or True  # type: ignore[method-assign,func-returns-value]
    shelf.feed(1, 2)
    shelf.backlog.take(1)
    assert rung == [True]


def test_records_given_back_are_the_first_again_at_their_old_positions() -> None:
    shelf = Shelf()
    shelf.feed(*"abcd")
    lot = shelf.backlog.take(2)
    assert lot is not None
    shelf.backlog.give_back(lot)
    assert (shelf.backlog.position, shelf.backlog.waiting, shelf.backlog.entered) == (0, 4, 4)
    again = shelf.backlog.take(3)
    assert again is not None
    assert (again.first, again.values) == (0, ["a", "b", "c"])
    assert shelf.ledger.fed == 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.booleans()), max_size=30))
def test_whatever_is_taken_and_given_back_all_come_once_in_order(moves: list[tuple[int, int, bool]]) -> None:
    shelf, fed, out = Shelf(1000), 0, []
    for new, most, back in moves:
        shelf.feed(*range(fed, fed + new))
        fed += new
        if not shelf.backlog.waiting:
            continue
        lot = shelf.backlog.take(most)
        assert lot is not None
        assert lot.values == list(range(lot.first, lot.first + len(lot.values or ())))
        if back:
            shelf.backlog.give_back(lot)
        else:
            out += lot.values or []
        assert shelf.backlog.position == len(out)
        assert shelf.backlog.entered == fed
        shelf.ledger.audit()
    assert out == list(range(len(out)))


def test_the_mark_moves_with_what_is_taken_and_given_back() -> None:
    shelf = Shelf()
    shelf.feed(*"abcd")
    shelf.backlog.look_after(3)
    assert shelf.backlog.mark == 7
    lot = shelf.backlog.take(2)
    assert lot is not None
    assert shelf.backlog.mark == 5
    shelf.backlog.give_back(lot)
    assert shelf.backlog.mark == 7
    shelf.backlog.look_after(0)
    assert shelf.backlog.mark == 0


def test_a_pause_rings_and_the_next_record_ends_it() -> None:
    shelf = Shelf()
    shelf.backlog.pause()
    assert (shelf.backlog.paused, shelf.bell.rings) == (True, 1)
    shelf.backlog.flow()
    assert not shelf.backlog.paused


def test_of_a_batch_feed_nothing_may_be_taken_before_its_end() -> None:
    shelf = Shelf(whole=True)
    shelf.feed(1, 2)
    assert (shelf.backlog.held, shelf.backlog.waiting, shelf.backlog.takable) == (True, 2, 0)
    shelf.backlog.end()
    assert (shelf.backlog.held, shelf.backlog.takable) == (False, 2)


def test_a_stream_may_be_taken_while_more_comes() -> None:
    shelf = Shelf()
    shelf.feed(1)
    assert (shelf.backlog.held, shelf.backlog.takable, shelf.backlog.ended) == (False, 1, False)


def test_it_is_exhausted_when_it_has_ended_and_all_were_taken() -> None:
    shelf = Shelf()
    shelf.feed(1)
    shelf.backlog.end()
    assert not shelf.backlog.exhausted
    shelf.backlog.take(1)
    assert shelf.backlog.exhausted


def test_its_end_books_what_came_last_and_rings() -> None:
    shelf = Shelf()
    shelf.backlog.records += [1, 2]
    shelf.backlog.end()
    assert (shelf.ledger.fed, shelf.bell.rings, shelf.backlog.ended) == (2, 1, True)


def test_a_second_end_is_our_bug() -> None:
    shelf = Shelf()
    shelf.backlog.end()
    with pytest.raises(InternalError):
        shelf.backlog.end()


# On disk.


def test_what_has_no_permit_goes_to_disk_and_keeps_its_place() -> None:
    shelf = Shelf(2, whole=True)
    shelf.feed(*range(5))
    assert (shelf.backlog.records, len(shelf.backlog.spill)) == ([0, 1], 3)
    assert (shelf.ledger.in_flight, shelf.ledger.spilled, shelf.ledger.fed) == (2, 3, 5)
    assert (shelf.backlog.waiting, shelf.backlog.entered) == (5, 5)
    shelf.backlog.close()


def test_what_is_on_disk_comes_after_what_is_in_memory_as_permits_come_free() -> None:
    shelf = Shelf(2, whole=True)
    shelf.feed(*range(5))
    shelf.backlog.end()
    out: list[int] = []
    for _ in range(3):
        lot = shelf.backlog.take(9)
        assert lot is not None
        assert lot.first == len(out)
        came = values(lot)
        out += came
        shelf.ledger.audit()
        shelf.settle(lot.first, len(came))
    assert out == [0, 1, 2, 3, 4]
    assert shelf.backlog.exhausted
    shelf.backlog.close()


def test_without_permits_nothing_comes_from_disk_and_the_next_that_is_free_rings() -> None:
    shelf = Shelf(2, whole=True)
    shelf.feed(*range(3))
    shelf.backlog.end()
    shelf.backlog.take(9)
    rings = shelf.bell.rings
    assert shelf.backlog.take(1) is None
    assert shelf.bell.rings == rings
    shelf.settle(0, 2)
    assert shelf.bell.rings == rings + 1
    assert values(shelf.backlog.take(1)) == [2]
    shelf.backlog.close()


def test_a_record_on_disk_that_has_no_bytes_is_rejected_in_its_place() -> None:
    shelf = Shelf(1, whole=True)
    shelf.feed(0, lambda: None)
    shelf.backlog.end()
    shelf.backlog.take(1)
    shelf.settle(0, 1)
    lot = shelf.backlog.take(1)
    assert lot is not None
    assert [(index, failure.kind) for index, failure in lot.rejected.items()] == [(0, "unpicklable")]
    shelf.backlog.close()


# Given up.


@pytest.mark.parametrize("whole", [False, True])
def test_giving_up_aborts_whatever_waits_in_memory_and_on_disk(whole: bool) -> None:
    shelf = Shelf(2, whole=whole)
    shelf.feed(*range(5 if whole else 2))
    fed = shelf.ledger.fed
    shelf.backlog.abort()
    shelf.ledger.audit(final=True)
    assert (shelf.ledger.total.aborted, shelf.backlog.waiting, shelf.backlog.position) == (fed, 0, fed)
    assert (shelf.backlog.held, shelf.bell.rings) == (True, 1)


def test_what_was_appended_and_not_booked_is_given_up_too() -> None:
    shelf = Shelf()
    shelf.backlog.records += [1, 2, 3]
    shelf.backlog.abort()
    assert (shelf.ledger.fed, shelf.ledger.total.aborted, shelf.backlog.entered) == (3, 3, 3)


def test_what_the_feed_hands_over_after_it_was_given_up_cannot_be_taken_and_goes_with_the_next_abort() -> None:
    shelf = Shelf()
    shelf.feed(1)
    shelf.backlog.abort()
    shelf.feed(2, 3)
    assert (shelf.backlog.takable, shelf.backlog.waiting, shelf.backlog.ended) == (0, 2, False)
    shelf.backlog.end()
    shelf.backlog.abort()
    shelf.ledger.audit(final=True)
    assert (shelf.ledger.total.aborted, shelf.backlog.exhausted) == (3, True)


def test_batches_that_were_taken_before_are_none_of_its_business() -> None:
    shelf = Shelf()
    shelf.feed(1, 2, 3)
    shelf.backlog.take(1)
    shelf.ledger.open(0, 1, 0)
    shelf.backlog.abort()
    assert (shelf.ledger.in_flight, shelf.ledger.total.aborted) == (1, 2)


def test_closing_books_what_came_last_and_gives_the_disk_back() -> None:
    shelf = Shelf(1, whole=True)
    shelf.feed(1, 2)
    shelf.backlog.close()
    assert len(shelf.backlog.spill) == 0
    stream = Shelf()
    stream.backlog.records.append(1)
    stream.backlog.close()
    assert stream.ledger.fed == 1


def test_it_says_how_it_is() -> None:
    shelf = Shelf()
    shelf.feed(1)
    assert repr(shelf.backlog) == "<OPEN, 1 waiting, paused False, mark 0>"
