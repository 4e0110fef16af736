"""An answer taken apart: record by record, and in the stretches between some records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from operator import itemgetter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._engine.settling.answer import Answer, answer_of
from pipeframe_async._rules.journey import Came
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.model import Failure

FATES = st.lists(st.sampled_from(["result", "bypasses", "filtered", "fails"]), max_size=4)
"""Of one record: what its children come to, or what it does; none at all is filtered."""


def an_answer(records: list[list[str]], *, results: bool) -> Answer:
    came: list[Any] = []
    spans, grown, bypass_at, failures = dict[int, int](), dict[int, int](), list[int](), list[tuple[int, Any]]()
    for index, fates in enumerate(records):
        fates = fates or ["filtered"]
        there = [fate for fate in fates if fate in ("result", "bypasses")]
        bypass_at += [len(came) + number for number, fate in enumerate(there) if fate == "bypasses"]
        came += [(index, number) for number in range(len(there))]
        if len(there) != 1:
            spans[index] = len(there)
        if len(fates) > 1:
            grown[index] = len(fates) - 1
        failures += [(index, failure(index)) for fate in fates if fate == "fails"]
    return answer_of(
        100,
        len(records),
        delivered=len(came),
        bypassed=len(bypass_at),
        filtered=[fate for fates in records for fate in (fates or ["filtered"])].count("filtered"),
        results=came if results else [],
        failures=failures,
        spans=spans,
        grown=grown,
        bypass_at=bypass_at,
    )


def failure(index: int) -> Failure[Any]:
    return Failure(index, "step", "raised", "ValueError", "")


RECORDS = st.lists(FATES, min_size=1, max_size=30)


@given(RECORDS, st.booleans())
def test_each_record_has_its_own(records: list[list[str]], results: bool) -> None:
    for index, came in enumerate(an_answer(records, results=results).record_by_record()):
        fates = records[index] or ["filtered"]
        there = [fate for fate in fates if fate in ("result", "bypasses")]
        values = [(index, number) if results else None for number in range(len(there))]
        assert came.results == tuple(zip(values, [fate == "bypasses" for fate in there], strict=True))
        assert (came.filtered, len(came.failures)) == (fates.count("filtered"), fates.count("fails"))
        assert {failure.record for failure in came.failures} <= {index}


@given(RECORDS, st.sets(st.integers(0, 29)), st.booleans())
def test_the_stretches_between_some_records_are_the_others(
    records: list[list[str]], without: set[int], results: bool
) -> None:
    without = {index for index in without if index < len(records)}
    pieces = list(an_answer(records, results=results).without(without))
    kept = [index for piece in pieces for index in range(piece.first - 100, piece.first - 100 + piece.count)]
    assert kept == [index for index in range(len(records)) if index not in without]
    for piece in pieces:
        begin = piece.first - 100
        expected = an_answer(records[begin : begin + piece.count], results=results)
        assert piece.outcome == expected.outcome
        assert (piece.spans, piece.grown, piece.bypass_at) == (expected.spans, expected.grown, expected.bypass_at)
        assert [index for index, _ in piece.failures] == [index for index, _ in expected.failures]
        assert piece.results == [(begin + index, number) for index, number in expected.results]


def sums(outcomes: Iterable[Outcome]) -> tuple[int, ...]:
    """Each count of many outcomes, added up."""
    rows = [astuple(outcome) for outcome in outcomes]
    return tuple(map(sum, zip(*rows, strict=True))) if rows else astuple(Outcome())


def outcome_of(came: Came) -> Outcome:
    bypassed = sum(bypasses for _, bypasses in came.results)
    return Outcome(len(came.results), bypassed, came.filtered, len(came.failures), 0, came.outcomes - 1)


@given(RECORDS, st.sets(st.integers(0, 29)), st.booleans(), st.integers(0, 10_000))
def test_the_stretches_and_the_records_between_them_are_the_whole(
    records: list[list[str]], without: set[int], results: bool, nbytes: int
) -> None:
    answer = an_answer(records, results=results)
    answer.nbytes = nbytes
    without = {index for index in without if index < len(records)}
    pieces = list(answer.without(without))
    came = list(answer.record_by_record())
    removed = [came[index] for index in sorted(without)]
    assert sums([*(piece.outcome for piece in pieces), *map(outcome_of, removed)]) == astuple(answer.outcome)
    stretches = {piece.first - 100: list(piece.record_by_record()) for piece in pieces}
    stretches |= {index: [came[index]] for index in without}
    assert [one for start in sorted(stretches) for one in stretches[start]] == came
    owned = [(piece.first - 100 + index, failure) for piece in pieces for index, failure in piece.failures]
    owned += [(index, failure) for index in without for failure in came[index].failures]
    assert sorted(owned, key=itemgetter(0)) == answer.failures
    assert all(piece.outcome.records == piece.count and piece.nbytes >= 0 for piece in pieces)
    assert sum(piece.nbytes for piece in pieces) <= nbytes


@given(RECORDS, st.sets(st.integers(0, 29)))
def test_a_record_that_is_worth_another_attempt_is_told_from_the_others(
    records: list[list[str]], again: set[int]
) -> None:
    answer = an_answer(records, results=True)
    answer.again = {index for index, fates in enumerate(records) if "fails" in fates and index in again}
    assert {index for index, came in enumerate(answer.record_by_record()) if came.again} == answer.again
    pieces = list(answer.without(answer.again))
    assert not any(came.again for piece in pieces for came in piece.record_by_record())
    assert sum(piece.count for piece in pieces) == len(records) - len(answer.again)


@given(RECORDS)
def test_taking_an_answer_apart_changes_nothing_of_it(records: list[list[str]]) -> None:
    answer = an_answer(records, results=True)
    list(answer.record_by_record())
    list(answer.without({0, len(records) - 1}))
    assert answer == an_answer(records, results=True)


def test_without_nothing_is_the_whole_and_without_everything_is_nothing() -> None:
    answer = an_answer([["result"], [], ["bypasses", "fails"]], results=True)
    assert list(answer.without(set())) == [answer]
    assert list(answer.without({0, 1, 2})) == []
