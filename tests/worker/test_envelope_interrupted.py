"""A batch ended in the middle of a record: what was finished before it is worth as much as a batch of only that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._worker import codec, envelope
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async.model import DROP
from pipeframe_async.steps import vectorize
from pipeframe_async.wire import ChainSpec, Packed, Reply
from tests.worker import hostile

STEPS = 3
PASS = ("pass", None)

Way = Any
"""What becomes of a record in the step it comes to next: a word, and for those that go on, the rest of the way."""


def ways(steps: int) -> st.SearchStrategy[Way]:
    """All that may happen to a record that has so many steps before it."""
    if steps == 0:
        return st.none()
    on = ways(steps - 1)
    ends = st.sampled_from([("bypass",), ("drop",), ("raise",), ("wrong shape",), ("a lambda",)])
    children = st.lists(st.tuples(on, st.booleans()), max_size=3).map(tuple)
    return st.tuples(st.just("pass"), on) | ends | st.tuples(st.just("fan out"), children, st.booleans())


class Step:
    """Does with a record `(number, way)` what its way says; calls `look` whenever it is at one, children included."""

    def __init__(self) -> None:
        self.looks: list[tuple[int, Reply | None]] | None = None

    def look(self, record: int) -> None:
        if self.looks is not None:
            self.looks.append((record, envelope.finished_part()))

    def __call__(self, record: Any) -> Any:
        number, way = record
        self.look(number)
        match way:
            case None:
                return record, True
            case ("pass", on):
                return (number, on), True
            case ("bypass",):
                return (number, None), False
            case ("a lambda",):
                return (lambda: None), False
            case ("drop",):
                return DROP
            case ("raise",):
                raise ValueError(number)
            case ("wrong shape",):
                return number
            case ("fan out", children, raises):
                return self.children(number, children, raises)
        raise AssertionError(way)

    def children(self, number: int, children: Any, raises: bool) -> Iterator[Any]:
        for on, keep_going in children:
            self.look(number)
            yield (number, on), keep_going
        self.look(number)
        if raises:
            raise KeyError(number)


KEY = "interrupted"


@pytest.fixture(autouse=True)
def a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has a cursor, as a worker's has."""
    monkeypatch.setattr(envelope, "_cursor", None)
    envelope.attach_cursor(Cursor())
    yield
    envelope.forget()


def worth(reply: Reply) -> tuple[Any, ...]:
    """All of a reply that is not about time."""
    results = reply.results
    read = list(map(codec.loads, results)) if isinstance(results, tuple) else results and codec.loads(results)
    counts = reply.records, reply.delivered, reply.bypassed, reply.filtered, reply.emitted
    # Libraries may have errors pickled with their tracebacks, as tblib does: with the lines of whoever called.
    raised = [failure.raised and type(codec.loads(failure.raised)) for failure in reply.failures]
    failures = (
        [
            failure._replace(raised=None, message=placeless(failure.message), traceback=placeless(failure.traceback))
            for failure in reply.failures
        ],
        raised,
    )
    return *counts, read, reply.spans, failures, reply.owners()


def placeless(text: str) -> str:
    """Without where objects are in memory, which what cannot be pickled is told with since 3.14."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def lawful(reply: Reply) -> bool:
    return reply.records + reply.emitted == reply.delivered + reply.filtered + len(reply.failures)


@given(
    records=st.lists(ways(STEPS), max_size=8).flatmap(lambda some: st.integers(1, 5).map(lambda times: some * times)),
    skipped=st.integers(0, 3),
    framed=st.booleans(),
    ship=st.booleans(),
    fast=st.booleans(),
    time_limit=st.sampled_from([None, 1.0]),
)
def test_the_finished_part_is_what_a_batch_of_those_records_alone_would_be(
    records: list[Way], skipped: int, framed: bool, ship: bool, fast: bool, time_limit: float | None
) -> None:
    step = Step()
    envelope.forget(KEY)
    envelope.install(KEY, ChainSpec(("first", "second", "third"), (step,) * STEPS, None, time_limit))
    numbered = [(number - skipped, way) for number, way in enumerate([PASS] * skipped + records)]
    whole = tuple(map(codec.dumps, numbered)) if framed else codec.dumps(numbered)
    batch = Packed(len(numbered), whole).stretch(skipped, len(numbered))

    def run(part: Packed) -> Reply:
        envelope._installed[KEY]._record_ns = 0.0 if fast else 1e9  # the hot loop, or all records timed
        return envelope.work(KEY, None, 0, part.data, ship, part.span)

    step.looks = []
    reply, looks, step.looks = run(batch), step.looks, None
    assert reply.refusal is None
    assert lawful(reply)
    for at, finished in looks:
        assert finished is not None
        assert finished.records == at
        assert lawful(finished)
        first = Packed(at, whole).stretch(skipped, skipped + at)
        assert worth(finished) == worth(run(first))
    assert worth(reply) == worth(run(batch))  # looking has changed nothing
    assert {at for at, _ in looks} == set(range(len(records)))


@given(
    records=st.lists(ways(2), max_size=8).flatmap(lambda some: st.integers(1, 3).map(lambda times: some * times)),
    size=st.integers(1, 5),
    framed=st.booleans(),
)
def test_of_records_that_go_in_groups_the_finished_part_is_that_of_the_groups_before(
    records: list[Way], size: int, framed: bool
) -> None:
    step = Step()

    def looks_once(many: list[Any]) -> list[Any]:
        step.look(many[0][0])
        return many

    envelope.forget(KEY)
    envelope.install(KEY, ChainSpec(("one", "many", "last"), (step, vectorize(looks_once, size), step), None))
    numbered = [*enumerate(records)]
    whole = tuple(map(codec.dumps, numbered)) if framed else codec.dumps(numbered)

    def run(count: int) -> Reply:
        part = Packed(len(numbered), whole).stretch(0, count)
        return envelope.work(KEY, None, 0, part.data, True, part.span)

    step.looks = []
    reply, looks, step.looks = run(len(numbered)), step.looks, None
    assert lawful(reply)
    for at, finished in looks:
        assert finished is not None
        assert finished.records <= at
        assert lawful(finished)
        assert worth(finished) == worth(run(finished.records))


def test_of_five_records_in_calls_of_two_the_fifth_has_four_before_it() -> None:
    saved: list[int | None] = []

    def looks(many: list[Any]) -> list[Any]:
        finished = envelope.finished_part()
        saved.append(finished and finished.records)
        return many

    envelope.install(KEY, ChainSpec(("many",), (vectorize(looks, 2),), None))
    envelope.work(KEY, None, 0, codec.dumps([*range(5)]), True)
    assert saved == [0, 2, 4]


def test_at_no_record_there_is_no_finished_part() -> None:
    assert envelope.finished_part() is None
    envelope.install(KEY, ChainSpec(("step",), (Step(),), None))
    envelope.work(KEY, None, 0, codec.dumps([(0, None)]), True)
    assert envelope.finished_part() is None


def test_where_records_could_not_be_read_nothing_is_saved() -> None:
    step = Step()
    step.looks = []
    envelope.install(KEY, ChainSpec(("step",), (step,), None))
    frames = tuple(map(codec.dumps, [(0, None), hostile.RaisesWhenRead(), (2, None)]))
    reply = envelope.work(KEY, None, 0, frames, True)
    assert (reply.delivered, len(reply.failures)) == (2, 1)
    assert step.looks == [(0, None), (2, None)]


@given(st.data())
def test_a_part_of_a_batch_is_answered_as_a_batch_of_its_own(data: st.DataObject) -> None:
    records = list(enumerate(data.draw(st.lists(ways(STEPS), min_size=1, max_size=12))))
    start = data.draw(st.integers(0, len(records) - 1))
    stop = data.draw(st.integers(start + 1, len(records)))
    framed = data.draw(st.booleans())
    envelope.forget(KEY)
    envelope.install(KEY, ChainSpec(("first", "second", "third"), (Step(),) * STEPS, None))

    def packed(records: list[Any]) -> Packed:
        return Packed(len(records), tuple(map(codec.dumps, records)) if framed else codec.dumps(records))

    def run(part: Packed) -> Reply:
        return envelope.work(KEY, None, 0, part.data, True, part.span)

    part = packed(records).stretch(start, stop)
    assert (part.records, part.framed) == (stop - start, framed)
    assert worth(run(part)) == worth(run(packed(records[start:stop])))
