"""Journeys alone, between a shelf of records and stages that only note: who begins, goes on, sleeps and is given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import Child, Retry
from pipeframe_async._engine.journeys.frozen import Frozen
from pipeframe_async._engine.journeys.journeys import Journeys
from pipeframe_async._engine.journeys.tie import Tie
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.journey import Came, Part
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async._rules.retry import Retrying
from pipeframe_async.executors.packing import Packing
from tests.engine.harness import Shelf, a_failure

pytestmark = pytest.mark.virtual_clock


class Stop:
    """A stage that keeps the parts that come."""

    def __init__(self, *, on_the_loop: bool = False) -> None:
        self.on_the_loop = on_the_loop
        self.parts: list[Part] = []

    def put(self, part: Part) -> None:
        self.parts.append(part)
        part.holder = self

    def withdraw(self, part: Part) -> bool:
        if there := part in self.parts:
            self.parts.remove(part)
        return there

    def clear(self) -> list[Part]:
        gone, self.parts = self.parts, []
        return gone


class Bench:
    """Journeys through so many stages, and the answers that came of them."""

    def __init__(
        self,
        stages: int = 2,
        *,
        capacity: int = 100,
        whole: bool = False,
        retry: Retry | None = None,
        tie: Tie | None = None,
        keep: bool = True,
        on_the_loop: bool = False,
    ) -> None:
        self.shelf = Shelf(capacity, whole=whole)
        self.answers: list[Answer] = []
        self.leave = True
        self.journeys = Journeys(
            backlog=self.shelf.backlog,
            books=self.shelf.books,
            collect=self.collect,
            retrying=None if retry is None else Retrying(retry, lambda: 0.0),
            tie=tie,
            keep=keep,
            codec=Packing(),
            step="first",
        )
        self.stages = [Stop(on_the_loop=on_the_loop) for _ in range(stages)]
        self.journeys.join(self.stages)

    def collect(self, answer: Answer) -> bool:
        """One came; whether it may leave at once."""
        self.answers.append(answer)
        return self.leave

    def begin(self, *records: Any) -> list[Part]:
        """Feed records and let them begin; returns their parts."""
        self.shelf.feed(*records)
        left = len(records)

        def wanted() -> int:
            nonlocal left
            most, left = left, 0
            return most

        self.journeys.admit(wanted)
        return self.stages[0].parts[-len(records) :]

    def passes(self, part: Part, stage: int, *values: Any, **came: Any) -> None:
        """A part has come through a stage, to these values."""
        self.stages[stage].withdraw(part)
        results = tuple((value, False) for value in values)
        self.journeys.came(part, Came(results, **came), (stage, 0), (stage + 1, 0))

    def settled(self) -> None:
        """All answers are final, and the books balance."""
        for answer in self.answers:
            self.shelf.books.settle(answer)
        self.shelf.ledger.audit(final=True)


def test_records_begin_as_long_as_any_are_wanted() -> None:
    bench = Bench()
    bench.shelf.feed(*range(5))
    bench.journeys.admit(lambda: 3 - len(bench.stages[0].parts))
    assert [part.value for part in bench.stages[0].parts] == [0, 1, 2]
    assert (bench.journeys.alive, bench.shelf.backlog.position) == (3, 3)


def test_a_record_goes_from_stage_to_stage_and_its_answer_to_collect() -> None:
    bench = Bench()
    (part,) = bench.begin("a")
    bench.passes(part, 0, "b")
    (part,) = bench.stages[1].parts
    assert (part.value, bench.answers) == ("b", [])
    bench.passes(part, 1, "c")
    assert [(answer.first, answer.results) for answer in bench.answers] == [(0, ["c"])]
    assert bench.journeys.alive == 0
    bench.settled()


def test_children_go_on_by_themselves_and_come_back_in_their_order() -> None:
    bench = Bench()
    (part,) = bench.begin("a")
    bench.passes(part, 0, "x", "y", "z")
    first, second, third = bench.stages[1].parts
    bench.passes(third, 1, "Z")
    bench.stages[1].parts = []
    bench.journeys.came(first, Came((("X", False),)), (1, 0), (2, 0))
    assert bench.answers == []
    bench.journeys.came(second, Came(filtered=1), (1, 0), (2, 0))
    (answer,) = bench.answers
    assert (answer.results, answer.outcome.filtered, answer.outcome.emitted) == (["X", "Z"], 1, 2)
    bench.settled()


def test_a_result_that_bypasses_goes_to_no_stage_that_follows() -> None:
    bench = Bench()
    (part,) = bench.begin("a")
    bench.stages[0].parts = []
    bench.journeys.came(part, Came((("b", True),)), (0, 0), (1, 0))
    assert bench.stages[1].parts == []
    assert (bench.answers[0].results, bench.answers[0].outcome.bypassed) == (["b"], 1)
    bench.settled()


def test_results_that_nobody_wants_are_not_kept() -> None:
    bench = Bench(1, keep=False)
    (part,) = bench.begin("a")
    bench.passes(part, 0, "b")
    assert (bench.answers[0].results, bench.answers[0].outcome.delivered) == ([], 1)


def test_who_waits_for_more_is_rung_when_the_last_is_home() -> None:
    bench = Bench(1)
    one, two = bench.begin("a", "b")
    bench.passes(one, 0, "A")
    rings = bench.shelf.bell.rings
    bench.passes(two, 0, "B")
    assert bench.shelf.bell.rings == rings + 1


# What goes and comes with batches.


def test_records_in_batches_are_alive_until_they_have_come_back() -> None:
    bench = Bench()
    bench.journeys.sent(3)
    assert bench.journeys.alive == 3
    rings = bench.shelf.bell.rings
    bench.journeys.came_back(3)
    assert (bench.journeys.alive, bench.shelf.bell.rings) == (0, rings + 1)


def test_a_record_that_came_back_with_steps_before_it_goes_on_after_the_first_stage() -> None:
    bench = Bench()
    bench.journeys.adopt(7, "as fed", Came((("b", False),)))
    (part,) = bench.stages[1].parts
    assert (part.value, part.journey.position, part.journey.record) == ("b", 7, "as fed")


# Failures.


def test_a_failure_has_the_record_as_it_was_fed_and_its_attempts() -> None:
    bench = Bench(1)
    (part,) = bench.begin(["as fed"])
    part.attempts = 2
    bench.stages[0].parts = []
    bench.journeys.came(part, Came(failures=(a_failure(None),)), (0, 0), (1, 0))
    ((_, failure),) = bench.answers[0].failures
    assert (failure.record, failure.attempts) == (["as fed"], 3)
    bench.settled()


def test_a_failure_that_has_its_record_keeps_it() -> None:
    bench = Bench(1)
    bench.journeys.adopt(0, Frozen(b"bytes"), Came(failures=(a_failure("read in the worker"),)))
    assert bench.answers[0].failures[0][1].record == "read in the worker"


def test_before_steps_on_the_loop_the_record_is_kept_from_changes() -> None:
    bench = Bench(1, on_the_loop=True)
    (part,) = bench.begin(record := ["as fed"])
    assert part.value is record
    record.append("changed by a step")
    bench.stages[0].parts = []
    bench.journeys.came(part, Came(failures=(a_failure(None),)), (0, 0), (1, 0))
    assert bench.answers[0].failures[0][1].record == ["as fed"]


async def test_a_failed_part_with_attempts_left_sleeps_and_goes_on_in_the_stage_it_was_in() -> None:
    bench = Bench(retry=Retry(3, backoff=1.0, jitter=False))
    (part,) = bench.begin("a")
    bench.passes(part, 0, "b")
    (part,) = bench.stages[1].parts
    bench.stages[1].parts = []
    bench.journeys.came(part, Came(failures=(a_failure(),), again=True), (1, 0), (2, 0))
    assert (bench.journeys.asleep, bench.journeys.alive, bench.answers) == (True, 1, [])
    await asyncio.sleep(1.5)
    assert (bench.stages[1].parts, part.attempts, bench.shelf.ledger.retried) == ([part], 1, 1)
    assert not bench.journeys.asleep
    bench.journeys.close()


async def test_a_part_without_attempts_left_fails() -> None:
    bench = Bench(1, retry=Retry(2, backoff=1.0))
    (part,) = bench.begin("a")
    part.attempts = 1
    bench.stages[0].parts = []
    bench.journeys.came(part, Came(failures=(a_failure(),), again=True), (0, 0), (1, 0))
    assert bench.answers[0].outcome.failed == 1
    assert bench.answers[0].failures[0][1].attempts == 2


# Given up.


def test_a_record_that_is_withdrawn_before_it_began_ends_as_it_would_begin() -> None:
    bench = Bench()
    bench.shelf.feed("a", "b")
    rings = bench.shelf.bell.rings
    bench.journeys.withdraw(0)
    assert bench.shelf.bell.rings == rings + 1
    bench.journeys.admit(lambda: 2 - bench.shelf.backlog.position)
    assert [answer.outcome.aborted for answer in bench.answers] == [1]
    assert [part.value for part in bench.stages[0].parts] == ["b"]


def test_a_record_that_is_withdrawn_while_it_waits_gives_up_its_place() -> None:
    bench = Bench()
    one, two = bench.begin("a", "b")
    bench.journeys.withdraw(0)
    assert bench.stages[0].parts == [two]
    assert bench.answers[0].outcome.aborted == 1
    assert one.journey.given_up


def test_a_record_that_is_withdrawn_at_work_has_no_results() -> None:
    bench = Bench()
    (part,) = bench.begin("a")
    bench.stages[0].parts = []  # it is at work
    bench.journeys.withdraw(0)
    assert bench.answers == []
    bench.journeys.came(part, Came((("b", False),)), (0, 0), (1, 0))
    assert (bench.stages[1].parts, bench.answers[0].results, bench.answers[0].outcome.aborted) == ([], [], 1)
    bench.settled()


def test_a_record_that_has_its_outcome_cannot_be_withdrawn() -> None:
    bench = Bench(1)
    (part,) = bench.begin("a")
    bench.passes(part, 0, "A")
    bench.journeys.withdraw(0)
    (part,) = bench.begin("b")
    assert part.value == "b"


async def test_an_abort_gives_up_whatever_waits_or_sleeps_and_lets_what_is_at_work_come_home() -> None:
    bench = Bench(retry=Retry(3, backoff=1.0))
    asleep, at_work, waits = bench.begin("asleep", "at work", "waits")
    bench.stages[0].parts = [waits]
    bench.journeys.came(asleep, Came(failures=(a_failure(),), again=True), (0, 0), (1, 0))
    bench.journeys.abort()
    assert sorted(answer.first for answer in bench.answers) == [0, 2]
    bench.journeys.came(at_work, Came((("b", False),)), (0, 0), (1, 0))
    assert [answer.outcome.aborted for answer in bench.answers] == [1, 1, 1]
    assert (bench.stages[1].parts, bench.journeys.alive) == ([], 0)
    bench.settled()
    bench.journeys.close()


async def test_after_an_abort_nobody_has_another_attempt() -> None:
    bench = Bench(1, retry=Retry(3, backoff=1.0))
    (part,) = bench.begin("a")
    bench.stages[0].parts = []
    bench.journeys.abort()
    bench.journeys.came(part, Came(failures=(a_failure(),), again=True), (0, 0), (1, 0))
    assert bench.answers[0].outcome.aborted == 1


# Records from disk, and keys.


def test_records_from_disk_are_read_and_one_that_cannot_be_fails_in_its_place() -> None:
    bench = Bench(1, capacity=3, whole=True)
    bad = lambda: None  # noqa: E731
    bench.shelf.feed("in memory", "also", "these", "on disk", bad, "too")
    bench.shelf.backlog.end()
    bench.journeys.admit(lambda: 3 - len(bench.stages[0].parts))
    for part in list(bench.stages[0].parts):
        bench.passes(part, 0, part.value)
    for answer in bench.answers:
        bench.shelf.books.settle(answer)
    bench.answers.clear()
    left = [3]
    bench.journeys.admit(lambda: left.pop() if left else 0)
    assert [part.value for part in bench.stages[0].parts] == ["on disk", "too"]
    assert [(answer.first, failure.kind) for answer in bench.answers for _, failure in answer.failures] == [
        (4, "unpicklable")
    ]
    bench.shelf.backlog.close()


def test_a_record_whose_key_raises_fails_at_order_and_the_others_begin() -> None:
    tie = Tie(lambda record: record["key"], 2)
    bench = Bench(1, tie=tie)
    bench.begin({"key": 1}, {}, {"key": 1})
    assert [part.value for part in bench.stages[0].parts] == [{"key": 1}, {"key": 1}]
    assert len({part.journey.lane for part in bench.stages[0].parts}) == 1
    ((_, failure),) = bench.answers[0].failures
    assert (failure.step, failure.error_type, failure.record) == ("order", "KeyError", {})


# Children that go on before their record has come to its end.


class AheadBench(Bench):
    """One record, which is at work in a lane; and what has been taken of its portions."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []
        self.shelf.feed("a")
        self.shelf.backlog.take(1)
        self.shelf.ledger.open(0, 1, 10)
        self.journeys.sent(1)

    def ahead(self, *values: Any, name: str = "", nbytes: int = 0, **came: Any) -> list[Part]:
        """These children go on; returns their parts."""
        self.shelf.ledger.go_ahead(0, nbytes)
        results = tuple((value, False) for value in values)
        self.journeys.go_ahead(0, "a", Came(results, **came), nbytes, lambda: self.taken.append(name))
        return self.stages[1].parts[len(self.stages[1].parts) - len(values) :]

    def ends(self, *values: Any, **came: Any) -> list[Part]:
        """The record has come out of its lane, with these children."""
        self.journeys.adopt(0, "a", Came(tuple((value, False) for value in values), **came))
        self.journeys.came_back(1)
        return self.stages[1].parts[len(self.stages[1].parts) - len(values) :]

    def stored(self, *parts: Part) -> None:
        for part in parts:
            self.passes(part, 1, part.value)


def test_a_portion_leaves_when_its_children_are_through_and_its_record_later() -> None:
    bench = AheadBench()
    one, two = bench.ahead("x", "y", name="portion", nbytes=100)
    bench.stored(two)
    assert bench.answers == []
    bench.stored(one)
    (portion,) = bench.answers
    assert (portion.first, portion.count, portion.results, portion.nbytes) == (0, 0, ["x", "y"], 100)
    assert bench.journeys.alive == 1
    bench.stored(*bench.ends("z"))
    assert [(answer.count, answer.results) for answer in bench.answers] == [(0, ["x", "y"]), (1, ["z"])]
    assert (bench.journeys.alive, bench.taken) == (0, [])
    bench.settled()
    assert bench.taken == ["portion"]


def test_portions_leave_in_their_order_and_the_rest_after_them() -> None:
    bench = AheadBench()
    (first,), (second,) = bench.ahead("x"), bench.ahead("y")
    (last,) = bench.ends("z")
    bench.stored(last, second)
    assert (bench.answers, bench.journeys.alive) == ([], 1)
    bench.stored(first)
    assert [answer.results for answer in bench.answers] == [["x"], ["y"], ["z"]]
    bench.settled()


def test_children_are_numbered_through_all_portions() -> None:
    bench = AheadBench()
    parts = [*bench.ahead("x", "y", filtered=1), *bench.ahead("z"), *bench.ends("end")]
    assert [part.child for part in parts] == [Child((number,), part.value) for number, part in enumerate(parts)]


def test_a_portion_of_nothing_leaves_too_for_somebody_waits_for_it() -> None:
    bench = AheadBench()
    bench.ahead(name="nothing")
    bench.ahead(name="only filtered", filtered=3)
    bench.ends(filtered=1)
    assert [answer.outcome for answer in bench.answers] == [
        Outcome(),
        Outcome(filtered=3, emitted=3),
        Outcome(filtered=1),
    ]
    bench.settled()
    assert bench.taken == ["nothing", "only filtered"]


def test_a_portion_that_waits_for_other_records_holds_up_nobody_while_there_is_room() -> None:
    bench = AheadBench()
    bench.leave = False
    bench.stored(*bench.ahead("x", name="x"))
    assert bench.taken == ["x"]
    bench.shelf.ledger.go_ahead(0, bench.shelf.ledger.room_bytes)
    bench.stored(*bench.ahead("y", name="y"))
    assert bench.taken == ["x"]
    for portion in bench.answers:
        bench.shelf.books.settle(portion)
    assert bench.taken == ["x", "y"]


def test_where_a_child_is_given_up_its_record_is_and_what_has_left_stays() -> None:
    bench = AheadBench()
    bench.stored(*bench.ahead("x"))
    gone, beside = bench.ahead("y", "z", nbytes=50)
    bench.stages[1].parts = []
    bench.journeys.give_up(gone)
    bench.journeys.came(beside, Came((("z", False),)), (1, 0), (2, 0))
    assert bench.ahead("later") == []
    assert bench.ends("last") == []
    assert [(answer.results, answer.outcome) for answer in bench.answers] == [
        (["x"], Outcome(delivered=1, emitted=1)),
        ([], Outcome()),
        ([], Outcome()),
        ([], Outcome(aborted=1)),
    ]
    bench.settled()


def test_portions_that_end_as_one_leaves_still_follow_it() -> None:
    bench = AheadBench()
    (first,), _, _ = bench.ahead("x"), bench.ahead("y"), bench.ends("z")
    counts = []

    def one_too_many(answer: Answer) -> bool:
        if not bench.answers and not bench.journeys._aborted:
            bench.journeys.abort()
        counts.append(answer.count)
        return Bench.collect(bench, answer)

    bench.journeys._collect = one_too_many
    bench.stored(first)
    assert (counts, bench.journeys.alive) == ([0, 0, 1], 0)
    assert [answer.outcome.aborted for answer in bench.answers] == [0, 0, 1]
    bench.settled()
