"""Vectorized steps: each record comes to what it would have come to alone, and one that fails fails by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from math import ceil, log2
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import counting
from pipeframe_async._worker.chain import SLOW_NS, Chain
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async._worker.tally import Tally
from pipeframe_async._worker.whereabouts import Whereabouts, whereabouts
from pipeframe_async.failures import WrongShape, rows_of
from pipeframe_async.model import DROP
from pipeframe_async.steps import Named, apply, expand, keep_if, vectorize
from pipeframe_async.traceparent import current_traceparent
from pipeframe_async.wire import ChainSpec, Live, Spot, WireFailure
from tests.conftest import shown
from tests.worker.programs import ACTION, Action, Program, chain_of

T = TypeVar("T")


def chained(*steps: Callable[..., Any], **more: Any) -> ChainSpec:
    return ChainSpec(tuple(getattr(step, "__name__", "step") for step in steps), steps, None, **more)


def run(*steps: Callable[..., Any], records: Any, cursor: Cursor | None = None, **more: Any) -> Tally:
    return Chain(chained(*steps, **more)).run(list(records), (cursor or Cursor()).cells)


def failures(tally: Tally) -> list[tuple[int, int, str]]:
    return [(failure.at, failure.step, failure.error_type) for failure in tally.failures]


def notes(seen: list[T], look: Callable[[], T]) -> Callable[[Any], Any]:
    """A function that looks at something when it is called, and returns what it got."""

    def noting(given: Any) -> Any:
        seen.append(look())
        return given

    return noting


class Called:
    """A function of many records that remembers its calls."""

    __name__ = "called"

    def __init__(self, does: Callable[[Any], Any] = lambda record: record) -> None:
        self.calls: list[list[Any]] = []
        self._does = does

    def __call__(self, records: list[Any]) -> list[Any]:
        self.calls.append([*records])
        return [self._does(record) for record in records]


# What comes of records.

MANY = st.lists(st.sampled_from(["pass", "pass", "drop", "raise", "exit"]), min_size=1, max_size=4)
STEP: st.SearchStrategy[tuple[list[Action], int]] = st.one_of(
    st.tuples(st.lists(ACTION, min_size=1, max_size=4), st.just(0)),
    st.tuples(MANY, st.integers(1, 9)),
)


def of_one(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What a step does with a record, which it returns or drops."""

    def function(record: Any) -> Any:
        outcome = step(record)
        return outcome if outcome is DROP else outcome[0]

    return function


def in_two_ways(drawn: list[tuple[list[Action], int]], *, encodes: bool) -> tuple[ChainSpec, ChainSpec]:
    """Steps that have one record each, and the same of which some have many."""
    program: Program = [actions for actions, _ in drawn]
    alone = chain_of(program)
    together = alone._replace(
        steps=tuple(
            vectorize(Called(of_one(step)), size) if size else step
            for step, (_, size) in zip(alone.steps, drawn, strict=True)
        )
    )
    if not encodes:
        return alone, together
    encode = Named("encode", str)
    alone, together = (
        spec._replace(names=(*spec.names, "encode"), steps=(*spec.steps, encode), encodes=True)
        for spec in (alone, together)
    )
    return alone, together


def told(failure: WireFailure) -> WireFailure:
    return failure._replace(traceback="", raised=None)


@settings(max_examples=500)
@given(st.lists(STEP, min_size=1, max_size=5), st.integers(0, 40), st.booleans(), st.booleans())
def test_each_record_comes_to_what_it_comes_to_alone(
    drawn: list[tuple[list[Action], int]], count: int, encodes: bool, fast: bool
) -> None:
    records = [(number,) for number in range(count)]
    alone, together = (Chain(spec) for spec in in_two_ways(drawn, encodes=encodes))
    if fast:
        for leg in (together._vector.first, *(leg for _, leg in together._vector.rest)) if together._vector else ():
            if leg is not None and isinstance(leg.chain, Chain):
                leg.chain._record_ns = 0.0
    expected, tally = (chain.run(records, Cursor().cells) for chain in (alone, together))
    assert tally.results == expected.results
    assert tally.bypass_at == expected.bypass_at
    assert tally.filtered == expected.filtered
    assert tally.spans == expected.spans
    assert tally.grown == expected.grown
    assert list(map(told, tally.failures)) == list(map(told, expected.failures))
    assert all(ours <= theirs for ours, theirs in zip(tally.calls, expected.calls, strict=True))
    assert count + sum(tally.grown.values()) == len(tally.results) + tally.filtered + len(tally.failures)


@given(st.lists(STEP, min_size=1, max_size=5), st.integers(0, 40), st.integers(0, 40))
def test_what_is_settled_in_the_middle_sums_up(drawn: list[tuple[list[Action], int]], count: int, at: int) -> None:
    tally = Chain(in_two_ways(drawn, encodes=False)[1]).run([(number,) for number in range(count)], Cursor().cells)
    at = min(at, count)
    before = tally.before(at)
    assert at + sum(before.grown.values()) == len(before.results) + before.filtered + len(before.failures)


# Which records a call has.


@pytest.mark.parametrize(
    ("size", "count", "calls"), [(4, 10, [4, 4, 2]), (4, 4, [4]), (4, 1, [1]), (1, 3, [1, 1, 1]), (256, 10, [10])]
)
def test_a_call_has_as_many_records_as_there_are_up_to_its_size(size: int, count: int, calls: list[int]) -> None:
    called = Called()
    assert run(vectorize(called, size), records=range(count)).results == [*range(count)]
    assert list(map(len, called.calls)) == calls


def test_a_call_is_full_where_most_records_are_filtered_before_it() -> None:
    called = Called()
    run(keep_if(lambda record: record % 10 == 0), vectorize(called, 8), records=range(200))
    assert list(map(len, called.calls)) == [8, 8, 4]


def test_a_call_has_children_of_a_fan_out() -> None:
    called = Called()
    tally = run(expand(lambda record: range(record)), vectorize(called, 4), records=[3, 0, 2])
    assert called.calls == [[0, 1, 2, 0], [1]]
    assert (tally.results, tally.filtered, tally.spans) == ([0, 1, 2, 0, 1], 1, {0: 3, 1: 0, 2: 2})


def test_no_record_is_begun_before_those_before_it_have_had_a_full_call() -> None:
    seen: list[Any] = []

    def first(record: int) -> int:
        seen.append(record)
        return record

    def all_at_once(records: list[int]) -> list[int]:
        seen.append(records)
        return records

    run(apply(first), vectorize(all_at_once, 2), records=range(4))
    assert seen == [0, 1, [0, 1], 2, 3, [2, 3]]


def test_a_step_with_large_calls_behind_one_with_small_ones_has_full_ones() -> None:
    small, large = Called(), Called()
    run(vectorize(small, 2), vectorize(large, 6), records=range(12))
    assert list(map(len, small.calls)) == [2] * 6
    assert list(map(len, large.calls)) == [6, 6]


def test_what_a_call_does_to_its_list_is_its_own_affair() -> None:
    def takes_away(records: list[int]) -> list[int]:
        if 3 in records and len(records) > 1:
            records.clear()
            raise ValueError
        return [records.pop(0) for _ in range(len(records))]

    assert run(vectorize(takes_away), records=range(8)).results == [*range(8)]


# Who is to blame.


def raises_for(*bad: int | None) -> Called:
    def does(record: int) -> int:
        if record in bad:
            raise ValueError(f"bad {record}")
        return record

    return Called(does)


@pytest.mark.parametrize("at", [0, 100, 255])
def test_the_culprit_of_a_call_is_found_by_halves(at: int) -> None:
    called = raises_for(at)
    tally = run(vectorize(called, 256), records=range(256))
    assert failures(tally) == [(at, 0, "ValueError")]
    assert tally.results == [record for record in range(256) if record != at]
    assert len(called.calls) <= 1 + 2 * ceil(log2(256))


def test_a_failure_is_told_as_that_of_any_step() -> None:
    [failure] = run(vectorize(raises_for(1)), records=range(4), retry_on=(ValueError,)).failures
    assert (failure.kind, failure.message, failure.again) == ("raised", "bad 1", True)
    assert "in does" in failure.traceback
    assert "pipeframe_async" not in failure.traceback
    assert "During handling" not in failure.traceback


def test_steps_before_a_call_that_raises_are_not_run_again() -> None:
    before = Called()
    tally = run(apply(lambda record: before([record])[0]), vectorize(raises_for(2, 5), 8), records=range(8))
    assert len(before.calls) == 8
    assert failures(tally) == [(2, 1, "ValueError"), (5, 1, "ValueError")]


def test_a_child_that_fails_in_a_call_fails_by_itself() -> None:
    tally = run(expand(lambda record: [record, -record]), vectorize(raises_for(-2), 8), records=[1, 2, 3])
    assert tally.results == [1, -1, 2, 3, -3]
    [failure] = tally.failures
    assert failure.at == 1
    assert failure.child is not None
    assert failure.child[0] == (1,)


def test_a_child_that_stays_in_this_process_is_told_as_it_is() -> None:
    chain = Chain(chained(expand(lambda record: [record, None]), vectorize(raises_for(None))))
    tally = chain.run([object()], Cursor().cells, Tally(2, live=True))
    assert [failure.child for failure in tally.failures] == [((1,), Live([None]))]


# What a function may return.


@pytest.mark.parametrize(
    ("outcome", "rows"),
    [
        ([1, 2], [1, 2]),
        ((1, 2), [1, 2]),
        (range(2), [0, 1]),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        ({1: "a", 2: "b"}.values(), ["a", "b"]),
    ],
)
def test_what_has_a_length_and_an_order_is_as_good_as_a_list(outcome: Any, rows: list[Any]) -> None:
    assert rows_of("step", outcome, 2) == rows


def test_an_array_goes_on_along_its_first_axis() -> None:
    first, second = run(vectorize(lambda records: np.stack(records) * 2), records=[np.ones(3), np.zeros(3)]).results
    assert (first.tolist(), second.tolist()) == ([2.0] * 3, [0.0] * 3)


class Table:
    """Has a length, and is iterated over its columns."""

    columns = ("a", "b")

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.mark.parametrize(
    "outcome", [None, 3, "ab", b"ab", {1: 2, 3: 4}, {1, 2}, iter([1, 2]), np.array(2.0), Table()], ids=shown
)
def test_what_is_no_list_fails_with_its_type_and_the_number_of_records(outcome: Any) -> None:
    with pytest.raises(
        WrongShape,
        match=rf"'step' returned .*{type(outcome).__name__} for 2 records; expected a list, or an array, of as many",
    ):
        rows_of("step", outcome, 2)


class Liar(list[int]):
    """Has more items than it says."""

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("outcome", "count", "says"),
    [
        ([], 2, "0 items for 2 records"),
        ([0], 2, "1 item for 2 records"),
        ([0] * 1_500, 1, "1,500 items for 1 record;"),
        (Liar([1, 2, 3]), 2, "3 items for 2 records"),
    ],
)
def test_of_a_wrong_length_both_are_said(outcome: Any, count: int, says: str) -> None:
    with pytest.raises(WrongShape, match=f"'step' returned {says}"):
        rows_of("step", outcome, count)


def test_of_a_wrong_length_all_records_of_the_call_fail_and_no_others() -> None:
    called: list[int] = []

    def sums_up(records: list[int]) -> list[int]:
        called.append(len(records))
        return [sum(records)] if 0 in records else records

    tally = run(vectorize(sums_up, 4), records=range(8))
    assert failures(tally) == [(at, 0, "StepError") for at in range(4)]
    assert (tally.results, called) == ([4, 5, 6, 7], [4, 4])


# What is counted.


def test_calls_are_counted_in_records_and_a_record_has_its_share_of_the_time() -> None:
    (times,) = run(vectorize(Called(), 4), records=range(10)).times()
    assert (times.calls, times.timed) == (10, 10)
    assert times.most_ns >= times.timed_ns / 10
    assert times.slowest in (0, 4, 8)


def test_what_is_counted_in_a_call_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_process", None)  # this process is no worker
    counts: counting.Counts = {}
    token = counting.count_in(counts)
    run(vectorize(notes([], lambda: counting.count("calls")), 4), records=range(10))
    counting.count_no_more(token)
    assert counts == {"calls": 3}


def test_of_records_that_are_traced_each_has_the_step_in_its_trace_and_the_call_is_in_none() -> None:
    seen: list[str | None] = []
    chain = Chain(
        chained(
            apply(notes(seen, current_traceparent)),
            vectorize(notes(seen, current_traceparent), 4),
            apply(lambda record: record),
        )
    )
    tally = Tally(3)
    tally.traced = {1: f"00-{1:032x}-{1:016x}-01"}
    chain.run([0, 1, 2], Cursor().cells, tally)
    assert [(step.at, step.step) for step in tally.trace] == [(1, 0), (1, 1), (1, 2)]
    assert seen[-1] is None
    assert seen[1] is not None


# Where it is.


def test_the_cursor_says_which_records_a_call_has() -> None:
    cursor, seen = Cursor(), list[Spot]()
    look = notes(seen, cursor.read)
    run(apply(look), vectorize(look, 2), apply(look), records=range(3), cursor=cursor)
    at = [(spot.at, spot.step, spot.end, spot.begun) for spot in seen]
    assert at == [
        *[(0, 0, None, None), (1, 0, None, None), (0, 1, 2, 2), (0, 2, None, 2), (1, 2, None, 2)],
        *[(2, 0, None, None), (2, 1, None, 3), (2, 2, None, 3)],
    ]
    assert cursor.read()[4:] == (None, None)


def test_the_cursor_is_at_the_records_of_a_half() -> None:
    cursor, seen = Cursor(), list[tuple[int | None, int | None]]()

    def fails_together(records: list[int]) -> list[int]:
        seen.append((cursor.read().at, cursor.read().end))
        if 2 in records:
            raise ValueError
        return records

    run(vectorize(fails_together), records=range(4), cursor=cursor)
    assert seen == [(0, 4), (0, 2), (2, 4), (2, None), (3, None)]


def test_a_call_that_has_children_of_one_record_only_is_at_that_record() -> None:
    cursor, seen = Cursor(), list[Spot]()
    run(expand(range), vectorize(notes(seen, cursor.read), 4), records=[4], cursor=cursor)
    assert {(spot.at, spot.end) for spot in seen} == {(0, None)}


def test_who_asks_where_it_is_hears_the_step_and_the_record_where_it_is_one() -> None:
    seen: list[Whereabouts | None] = []
    look = notes(seen, whereabouts)
    run(Named("one", look), vectorize(look, 2), Named("last", look), records=range(3), pipeline_name="P")
    assert [(at.step, at.at) for at in seen if at is not None] == [
        *[("one", 0), ("one", 1), ("noting", None), ("last", 0), ("last", 1)],
        *[("one", 2), ("noting", 2), ("last", 2)],
    ]
    assert {at.pipeline for at in seen if at is not None} == {"P"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_in_a_call_ends_where_it_leaves_it() -> None:
    def forks(records: list[int]) -> list[int]:
        if (child := os.fork()) == 0:
            return [-1] * len(records)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return records

    assert run(vectorize(forks), apply(lambda record: record), records=range(3)).results == [0, 1, 2]


def test_how_a_chain_was_measured_stays_with_each_of_its_legs() -> None:
    chain = Chain(chained(apply(lambda record: record), vectorize(Called(), 256)))
    for _ in range(2):
        tally = chain.run([*range(500)], Cursor().cells)
    assert tally.times()[0].timed < 100
    assert chain._record_ns == SLOW_NS


def test_a_segment_has_vectorized_steps_of_its_own() -> None:
    called = Called()
    spec = chained(apply(lambda record: record + 1), vectorize(called, 4), apply(str), segments=(1, 2))
    first, second = Chain(spec).segments
    assert first.run([1, 2], Cursor().cells).results == [2, 3]
    assert second.run([2, 3], Cursor().cells).results == ["2", "3"]
    assert called.calls == [[2, 3]]
