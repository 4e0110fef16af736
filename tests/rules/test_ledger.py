"""The books balance after every entry, whatever the order, and a wrong entry changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeframe_async._rules.ledger import Ledger, Outcome
from pipeframe_async.errors import InternalError
from pipeframe_async.stats import Stats

COUNTS = st.integers(0, 40)
BYTES = st.integers(0, 10_000)


@st.composite
def outcomes(draw: st.DrawFn, records: int) -> Outcome:
    """Any final outcome of so many records."""
    emitted = draw(st.integers(0, 10))
    cuts = sorted(draw(st.lists(st.integers(0, records + emitted), min_size=3, max_size=3)))
    delivered = cuts[0]
    return Outcome(
        delivered=delivered,
        bypassed=draw(st.integers(0, delivered)),
        filtered=cuts[1] - cuts[0],
        failed=cuts[2] - cuts[1],
        aborted=records + emitted - cuts[2],
        emitted=emitted,
    )


def books(ledger: Ledger) -> tuple[object, ...]:
    """Everything a ledger shows."""
    return (
        ledger.stats(elapsed=0.0, worker_restarts=0),
        ledger.total,
        ledger.room,
        ledger.room_bytes,
        ledger.peak_in_flight,
        ledger.peak_bytes,
    )


class AnyOrder(RuleBasedStateMachine):
    """Entries in any order, against books kept by hand."""

    @initialize(capacity=st.integers(1, 60), capacity_bytes=st.integers(1, 20_000))
    def begin(self, capacity: int, capacity_bytes: int) -> None:
        self.ledger = Ledger(capacity, capacity_bytes)
        self.capacity = capacity
        self.capacity_bytes = capacity_bytes
        self.waiting = self.spilled = self.fed = 0
        self.batches: dict[int, tuple[int, int]] = {}  # records and bytes of each
        self.settled: list[int] = []
        self.number = 0
        self.highest = 0
        self.total = Outcome()

    @property
    def held(self) -> int:
        return self.waiting + sum(records for records, _ in self.batches.values())

    def book(self, outcome: Outcome) -> None:
        names = ("delivered", "bypassed", "filtered", "failed", "aborted", "emitted")
        self.total = Outcome(**{name: getattr(self.total, name) + getattr(outcome, name) for name in names})

    def refused(self, entry: str, *arguments: object) -> None:
        """An entry that breaks a law: it raises, and nothing has changed."""
        before = books(self.ledger)
        with pytest.raises(InternalError):
            getattr(self.ledger, entry)(*arguments)
        assert books(self.ledger) == before

    @rule(records=COUNTS)
    def admit(self, records: int) -> None:
        if records > self.capacity - self.held:
            self.refused("admit", records)
            return
        self.ledger.admit(records)
        self.fed += records
        self.waiting += records

    @rule(records=COUNTS)
    def spill(self, records: int) -> None:
        self.ledger.spill(records)
        self.fed += records
        self.spilled += records

    @rule(records=COUNTS)
    def unspill(self, records: int) -> None:
        if records > min(self.spilled, self.capacity - self.held):
            self.refused("unspill", records)
            return
        self.ledger.unspill(records)
        self.spilled -= records
        self.waiting += records

    @rule(records=COUNTS)
    def refuse(self, records: int) -> None:
        self.ledger.refuse(records)
        self.fed += records
        self.book(Outcome(aborted=records))

    @rule(data=st.data(), nbytes=BYTES)
    def open(self, data: st.DataObject, nbytes: int) -> None:
        records = data.draw(st.integers(0, self.waiting + 1))
        if not 0 < records <= self.waiting:
            self.refused("open", self.number, records, nbytes)
            return
        self.ledger.open(self.number, records, nbytes)
        self.waiting -= records
        self.batches[self.number] = records, nbytes
        self.number += 1

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), nbytes=BYTES)
    def charge(self, data: st.DataObject, nbytes: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.batches)))
        self.ledger.charge(number, nbytes)
        self.batches[number] = self.batches[number][0], nbytes

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.batches)))
        outcome = data.draw(outcomes(self.batches.pop(number)[0]))
        self.ledger.settle(number, outcome)
        self.settled.append(number)
        self.book(outcome)

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), off=st.sampled_from([-1, 1, 5]))
    def settle_a_wrong_number_of_records(self, data: st.DataObject, off: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.batches)))
        wrong = self.batches[number][0] + off
        self.refused("settle", number, Outcome(delivered=wrong))

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def settle_twice(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.settled))
        self.refused("settle", number, Outcome(delivered=1))
        self.refused("charge", number, 1)

    @precondition(lambda self: self.batches and self.waiting)
    @rule(data=st.data())
    def open_twice(self, data: st.DataObject) -> None:
        self.refused("open", data.draw(st.sampled_from(sorted(self.batches))), 1, 1)

    @rule(records=st.integers(-9, -1))
    def less_than_nothing(self, records: int) -> None:
        for entry in ("admit", "spill", "unspill", "refuse"):
            self.refused(entry, records)
        self.refused("open", self.number, records, 1)

    @rule()
    def abort_waiting(self) -> None:
        self.ledger.abort_waiting()
        self.book(Outcome(aborted=self.waiting + self.spilled))
        self.waiting = self.spilled = 0

    @rule()
    def abort_rest(self) -> None:
        rest = self.held + self.spilled
        self.ledger.abort_rest()
        self.book(Outcome(aborted=rest))
        self.waiting = self.spilled = 0
        self.settled += self.batches
        self.batches = {}

    @invariant()
    def every_record_is_somewhere(self) -> None:
        s: Stats = self.ledger.stats(elapsed=0.0, worker_restarts=0)
        outcomes = s.delivered + s.filtered + s.failed + s.aborted
        assert s.fed + s.emitted == outcomes + s.in_flight + s.spilled
        assert (s.fed, s.in_flight, s.spilled) == (self.fed, self.held, self.spilled)
        assert self.ledger.total == self.total
        self.ledger.audit()

    @invariant()
    def the_buffer_is_never_exceeded(self) -> None:
        self.highest = max(self.highest, self.held)
        assert 0 <= self.ledger.in_flight <= self.capacity
        assert self.ledger.room == self.capacity - self.held
        assert self.ledger.peak_in_flight == self.highest

    @invariant()
    def bytes_are_those_of_the_open_batches(self) -> None:
        held = sum(nbytes for _, nbytes in self.batches.values())
        assert self.ledger.in_flight_bytes == held <= self.ledger.peak_bytes
        assert self.ledger.room_bytes == self.capacity_bytes - held

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.abort_rest()
            self.ledger.audit(final=True)
            assert self.ledger.total.records == self.fed


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_the_books_balance_after_every_entry_in_any_order = AnyOrder.TestCase


def test_a_final_audit_names_what_is_still_in_flight() -> None:
    ledger = Ledger(10, 100)
    ledger.admit(3)
    ledger.audit()
    with pytest.raises(InternalError, match=r"nothing left at the end.*in flight 3.*please report"):
        ledger.audit(final=True)


def test_a_final_audit_does_not_pass_over_bytes_left_behind() -> None:
    ledger = Ledger(10, 100)
    ledger.in_flight_bytes = 1
    with pytest.raises(InternalError, match="nothing left at the end"):
        ledger.audit(final=True)


def test_an_audit_finds_a_record_that_vanished() -> None:
    ledger = Ledger(10, 100)
    ledger.admit(3)
    ledger.in_flight = 2
    with pytest.raises(InternalError, match=r"fed = skipped \+ outcomes \+ in flight \+ spilled.*in flight = waiting"):
        ledger.audit()


def test_what_fan_out_added_is_not_held_against_the_batch() -> None:
    ledger = Ledger(10, 100)
    ledger.admit(2)
    ledger.open(0, 2, 50)
    ledger.settle(0, Outcome(delivered=7, filtered=1, emitted=6))
    ledger.audit(final=True)
    assert (ledger.fed, ledger.total.emitted, ledger.total.delivered) == (2, 6, 7)


def test_a_reply_larger_than_expected_leaves_negative_room_for_bytes() -> None:
    ledger = Ledger(10, 100)
    ledger.admit(1)
    ledger.open(0, 1, 40)
    ledger.charge(0, 130)
    assert (ledger.room_bytes, ledger.peak_bytes) == (-30, 130)
    ledger.settle(0, Outcome(delivered=1))
    assert ledger.room_bytes == 100


def test_a_snapshot_has_what_others_counted_too() -> None:
    ledger = Ledger(10, 100)
    ledger.admit(2)
    ledger.retried, ledger.re_executed = 4, 5
    expected = Stats(fed=2, in_flight=2, retried=4, re_executed=5, worker_restarts=6, elapsed=1.5)
    assert ledger.stats(elapsed=1.5, worker_restarts=6) == expected


def test_what_a_record_comes_to_before_its_end_is_booked_and_its_permit_stays() -> None:
    ledger = Ledger(10, 100)
    ledger.admit(3)
    ledger.open(0, 3, 30)
    ledger.go_ahead(0, 25)
    assert (ledger.room, ledger.room_bytes) == (7, 45)
    ledger.emit(0, Outcome(delivered=4, failed=1, emitted=5), 25)
    ledger.audit()
    assert (ledger.room, ledger.room_bytes, ledger.total.delivered) == (7, 70, 4)
    ledger.go_ahead(0, 10)
    ledger.split(0, [1, 2])
    ledger.emit(0, Outcome(delivered=1, emitted=1), 10)
    ledger.settle(0, Outcome(delivered=1))
    ledger.settle(1, Outcome(aborted=2))
    ledger.audit(final=True)


def test_what_is_given_up_takes_its_bytes_ahead_along() -> None:
    ledger = Ledger(10, 100)
    ledger.admit(1)
    ledger.open(0, 1, 30)
    ledger.go_ahead(0, 25)
    ledger.abort_rest()
    ledger.audit(final=True)


@pytest.mark.parametrize(("outcome", "nbytes"), [(Outcome(delivered=1), 0), (Outcome(delivered=1, emitted=1), 6)])
def test_an_entry_of_a_portion_that_is_none_changes_nothing(outcome: Outcome, nbytes: int) -> None:
    ledger = Ledger(10, 100)
    ledger.admit(1)
    ledger.open(0, 1, 0)
    ledger.go_ahead(0, 5)
    with pytest.raises(InternalError, match="under way"):
        ledger.emit(0, outcome, nbytes)
    assert (ledger.total, ledger.in_flight_bytes) == (Outcome(), 5)
