"""Traces: which records of a batch are in one, what their steps took, and that each span ends once."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar, copy_context
from typing import Any

from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.traces import Traces
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.contracts import RecordTrace
from pipeframe_async.model import AnyFailure, Failure
from pipeframe_async.report import RunReport
from pipeframe_async.wire import StepTrace

FAILURE: AnyFailure = Failure("record", "parse", "raised", "ValueError", "no")
CALLER = ContextVar("caller", default="nobody")


class Record:
    """A record's span."""

    def __init__(self, name: str) -> None:
        self.traceparent = name
        self.steps: list[tuple[str, int, int, bool]] = []
        self.ends: list[tuple[AnyFailure | None, bool]] = []

    def step(self, name: str, began: int, ended: int, *, failed: bool) -> None:
        self.steps.append((name, began, ended, failed))

    def ended(self, failure: AnyFailure | None, *, aborted: bool) -> None:
        self.ends.append((failure, aborted))


class Run:
    """Makes spans of records that have a context."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.batches: list[tuple[list[str], int]] = []

    def record(self, position: int, context: object) -> Record | None:
        name = CALLER.get() if context is None else str(context)
        if name == "nobody":
            return None
        return self.records.setdefault(position, Record(name))

    def batch(self, traced: Sequence[RecordTrace], *, records: int, lane: str, began: float, ended: float) -> None:
        self.batches.append(([trace.traceparent for trace in traced], records))

    def ended(self, report: RunReport, error: BaseException | None) -> None:
        raise AssertionError


def answer(first: int, count: int, failures: dict[int, Any] | None = None) -> Answer:
    failed = len(failures or {})
    return Answer(first, count, Outcome(delivered=count - failed, failed=failed), [], [*(failures or {}).items()])


def test_where_nobody_traces_nothing_is_kept() -> None:
    traces = Traces()
    traces.delivered(0, "a")
    assert (traces.wanted, traces.any, traces.among([0]), traces.of(0)) == (False, False, (), None)


def test_records_of_a_batch_that_are_in_a_trace_are_found_by_their_index() -> None:
    traces = Traces(Run())
    traces.delivered(3, "a")
    traces.delivered(9, "b")
    traces.delivered(5, "nobody")
    assert traces.among([2, 3, 4, 5, 9]) == ((1, "a"), (4, "b"))
    assert traces.among([10, 11]) == ()


def test_a_call_s_record_is_in_the_trace_of_its_caller() -> None:
    run = Run()
    traces = Traces(run)
    context = copy_context()
    context.run(CALLER.set, "request")
    traces.called(0, context)
    traces.called(1, copy_context())
    assert traces.among([0, 1]) == ((0, "request"),)


def test_what_steps_took_goes_to_the_record_s_span_and_the_batch_is_linked_once() -> None:
    run = Run()
    traces = Traces(run)
    traces.delivered(12, "a")
    steps = [StepTrace(2, 0, 1_000, 100), StepTrace(2, 1, 1_500, 400, True), StepTrace(0, 0, 1, 1)]
    traces.carried(lambda at: 10 + at, ["parse", "price"], steps, records=3, lane="lane 0", began=1.0, ended=2.0)
    assert run.records[12].steps == [("parse", 900, 1_000, False), ("price", 1_100, 1_500, True)]
    assert run.batches == [(["a"], 3)]


def test_a_span_ends_with_its_outcome_once() -> None:
    run = Run()
    traces = Traces(run)
    for position in range(4):
        traces.delivered(position, f"{position}")
    traces.settled(answer(0, 2, {1: FAILURE}), aborted=False)
    traces.settled(answer(2, 1), aborted=True)
    traces.close()
    traces.close()
    ends = [end for at in range(4) for end in run.records[at].ends]
    assert ends == [(None, False), (FAILURE, False), (None, True), (None, True)]
    assert not traces.any
