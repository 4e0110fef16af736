"""The one place where outcomes become final: what is done there, in which order, and who is rung."""

from __future__ import annotations

import pytest

from pipeframe_async import Delivery, InternalError
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.books import Books
from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async._rules.ledger import Ledger, Outcome
from tests.engine.harness import Answers, CountedBell, Shelf, a_failure, delivered, failed

pytestmark = pytest.mark.virtual_clock


def taken(shelf: Shelf, *records: int) -> None:
    """Records that went away as one batch."""
    shelf.feed(*records)
    shelf.backlog.take(len(records))
    shelf.ledger.open(0, len(records), 10)


def test_settling_frees_permits_and_bytes() -> None:
    shelf = Shelf(5)
    taken(shelf, 1, 2)
    assert (shelf.ledger.room, shelf.ledger.in_flight_bytes) == (3, 10)
    shelf.books.settle(delivered(0, "a", "b"))
    assert (shelf.ledger.room, shelf.ledger.in_flight_bytes, shelf.ledger.total.delivered) == (5, 0, 2)
    assert shelf.settlements == 1


def test_what_is_settled_twice_is_our_bug() -> None:
    shelf = Shelf()
    taken(shelf, 1)
    shelf.books.settle(delivered(0, "a"))
    with pytest.raises(InternalError, match="settled twice"):
        shelf.books.settle(delivered(0, "a"))
    assert shelf.settlements == 1


def test_those_who_look_for_work_are_rung_only_where_they_wanted_room() -> None:
    shelf = Shelf()
    taken(shelf, 1)
    shelf.books.settle(delivered(0, "a"))
    assert shelf.bell.rings == 0
    shelf.books.want_room()
    assert shelf.bell.rings == 0
    shelf.feed(2)
    shelf.backlog.take(1)
    shelf.settle(1, 1)
    assert shelf.bell.rings == 1


def test_a_wish_for_room_is_answered_once() -> None:
    shelf = Shelf()
    shelf.books.want_room()
    shelf.feed(1, 2)
    shelf.backlog.take(2)
    shelf.settle(0, 1)
    shelf.settle(1, 1)
    assert shelf.bell.rings == 1


def test_those_who_wait_for_permits_are_rung_each_time() -> None:
    shelf = Shelf()
    freed = shelf.books.freed = CountedBell()
    shelf.feed(1, 2)
    shelf.backlog.take(2)
    before = freed.rings
    shelf.settle(0, 1)
    shelf.settle(1, 1)
    assert freed.rings == before + 2


def test_permits_are_free_before_a_handle_is_answered_and_the_watermark_moves_after_it() -> None:
    said: list[str] = []
    ledger = Ledger(10, 1000)

    class Seen(Finals):
        def settled(self, answer: Answer, *, aborted: bool) -> None:
            said.append(f"watermark {answer.first} {answer.count} {aborted}")

    books = Books(ledger, work=Bell(), settled=lambda: said.append("settled"), finals=Seen())
    ledger.admit(1)
    ledger.open(0, 1, 0)
    books.handles.hold(0, Delivery("a", None, lambda: said.append(f"ack, {ledger.in_flight} in flight")))
    books.settle(delivered(0, "a"))
    assert said == ["ack, 0 in flight", "watermark 0 1 False", "settled"]


def test_where_not_all_results_were_taken_the_outcome_says_so_and_the_rest_is_given_up() -> None:
    shelf, answers = Shelf(), Answers()
    for position in range(3):
        shelf.books.handles.hold(position, answers.delivery(position))
    taken(shelf, 0, 1, 2)
    shelf.books.settle(delivered(0, "a", "b", "c"), Outcome(delivered=1, aborted=2), 1)
    assert (shelf.ledger.total.delivered, shelf.ledger.total.aborted) == (1, 2)
    assert (answers.acked, answers.nacked) == ([0], [1, 2])


def test_a_failed_record_is_nacked_with_its_failure() -> None:
    shelf, answers = Shelf(), Answers()
    shelf.books.handles.hold(0, answers.delivery(0))
    taken(shelf, 0)
    failure = a_failure("a")
    shelf.books.settle(failed(0, failure))
    assert (answers.nacked, answers.failures) == ([0], [failure])


async def test_closing_aborts_whatever_has_no_outcome_and_answers_every_handle() -> None:
    shelf, answers = Shelf(), Answers()
    shelf.feed(0, 1, 2)
    for position in range(3):
        shelf.books.handles.hold(position, answers.delivery(position))
    shelf.backlog.take(1)
    shelf.ledger.open(0, 1, 10)
    await shelf.books.close(1.0)
    shelf.ledger.audit(final=True)
    assert (shelf.ledger.total.aborted, sorted(answers.nacked), answers.acked) == (3, [0, 1, 2], [])
