"""An answer taken apart: record by record, and in the stretches between some records."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._engine.batch import Answer
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.model import Failure

FATES = st.lists(st.sampled_from(["result", "bypasses", "filtered", "fails"]), max_size=4)
"""Of one record: what its children come to, or what it does; none at all is filtered."""


def answer_of(records: list[list[str]], *, results: bool) -> Answer:
    answer = Answer(100, len(records), Outcome())
    count = 0
    for index, fates in enumerate(records):
        fates = fates or ["filtered"]
        there = [fate for fate in fates if fate in ("result", "bypasses")]
        for number, fate in enumerate(there):
            if fate == "bypasses":
                answer.bypass_at.append(count + number)
            if results:
                answer.results.append((index, number))
        count += len(there)
        if len(there) != 1:
            answer.spans[index] = len(there)
        if len(fates) > 1:
            answer.grown[index] = len(fates) - 1
        answer.failures += [(index, failure(index)) for fate in fates if fate == "fails"]
    flat = [fate for fates in records for fate in (fates or ["filtered"])]
    bypassed, failed = flat.count("bypasses"), flat.count("fails")
    emitted = len(flat) - len(records)
    answer.outcome = Outcome(flat.count("result") + bypassed, bypassed, flat.count("filtered"), failed, 0, emitted)
    assert answer.outcome.records == len(records)
    return answer


def failure(index: int) -> Failure[Any]:
    return Failure(index, "step", "raised", "ValueError", "")


RECORDS = st.lists(FATES, min_size=1, max_size=30)


@given(RECORDS, st.booleans())
def test_each_record_has_its_own(records: list[list[str]], results: bool) -> None:
    for index, came in enumerate(answer_of(records, results=results).record_by_record()):
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
    pieces = list(answer_of(records, results=results).without(without))
    kept = [index for piece in pieces for index in range(piece.first - 100, piece.first - 100 + piece.count)]
    assert kept == [index for index in range(len(records)) if index not in without]
    for piece in pieces:
        begin = piece.first - 100
        expected = answer_of(records[begin : begin + piece.count], results=results)
        assert piece.outcome == expected.outcome
        assert (piece.spans, piece.grown, piece.bypass_at) == (expected.spans, expected.grown, expected.bypass_at)
        assert [index for index, _ in piece.failures] == [index for index, _ in expected.failures]
        assert piece.results == [(begin + index, number) for index, number in expected.results]
