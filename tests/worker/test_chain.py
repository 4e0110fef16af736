"""The fused steps: every record comes to what it ought to, on the hot path as on the timed one."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeframe_async._worker import chain as chain_module
from pipeframe_async._worker.chain import SLOW_NS, Chain
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async._worker.tally import SAMPLES, Tally
from pipeframe_async.failures import MESSAGE_LIMIT, TRACEBACK_LIMIT, wrong_shape
from pipeframe_async.model import DROP
from pipeframe_async.steps import vectorize
from pipeframe_async.traceparent import current_traceparent
from pipeframe_async.wire import ChainSpec, Portions, WireFailure
from tests.worker.programs import PROGRAM, Expected, FanOut, Program, chain_of

FAST, SLOW = 0.0, float(SLOW_NS)
"""What the last batch is remembered to have cost a record: decides between the hot path and the timed one."""

COSTS = pytest.mark.parametrize("cost", [FAST, SLOW], ids=["hot", "timed"])


def run(chain: Chain | ChainSpec, records: list[Any], cost: float = SLOW) -> Tally:
    chain = Chain(chain) if isinstance(chain, ChainSpec) else chain
    chain._record_ns = cost
    return chain.run(records, Cursor().cells)


def chained(*steps: Callable[[Any], Any]) -> ChainSpec:
    return ChainSpec(tuple(step.__name__ for step in steps), steps, None)


def failures(tally: Tally) -> list[tuple[int, int, str]]:
    return [(failure.at, failure.step, failure.error_type) for failure in tally.failures]


def books(tally: Tally) -> tuple[Any, ...]:
    """Everything but the times."""
    return (
        tally.results,
        tally.bypass_at,
        tally.filtered,
        sum(tally.grown.values()),
        failures(tally),
        tally.spans,
        tally.calls,
    )


@settings(max_examples=400)
@given(PROGRAM, st.integers(0, 100), st.sampled_from([FAST, SLOW]), st.integers(0, 9))
@example([["pass", FanOut(("pass", "pass")), "raise"], [FanOut(()), FanOut(("pass", "raise"))]], 70, FAST, 0)
def test_any_chain_does_what_its_steps_say(program: Program, count: int, cost: float, first: int) -> None:
    records = [(first + number,) for number in range(count)]
    expected = Expected(program).run(records)
    tally = run(chain_of(program), records, cost)
    assert tally.results == expected.results
    assert tally.bypass_at == expected.bypass_at
    assert failures(tally) == expected.failures
    assert tally.filtered == expected.filtered
    assert sum(tally.grown.values()) == expected.emitted
    assert tally.spans == expected.spans
    assert tally.calls == expected.calls
    assert count + sum(tally.grown.values()) == len(tally.results) + tally.filtered + len(tally.failures)


@given(PROGRAM, st.integers(33, 120))
def test_the_hot_path_and_the_timed_one_come_to_the_same(program: Program, count: int) -> None:
    chain, records = Chain(chain_of(program)), [(number,) for number in range(count)]
    assert books(run(chain, records, FAST)) == books(run(chain, records, SLOW))


@given(PROGRAM, st.integers(0, 60))
def test_where_records_are_slow_every_call_is_timed(program: Program, count: int) -> None:
    for times in run(chain_of(program), [(number,) for number in range(count)], SLOW).times():
        assert times.timed == times.calls
        assert len(times.samples) <= times.calls


def passes(record: Any) -> tuple[Any, bool]:
    return record, True


def test_where_records_are_fast_a_sample_of_them_is_timed() -> None:
    (times,) = run(chained(passes), list(range(1_000)), SLOW - 1).times()
    assert times.calls == 1_000
    assert times.timed == SAMPLES
    assert sum(times.samples) == times.timed_ns


@pytest.mark.parametrize(
    ("cost", "count", "timed"),
    [
        (100.0, 1, 1),
        (100.0, 1_000, 1),
        (100.0, 5_000, 3),
        (1_000.0, 1_000, 6),
        (10_000.0, 1_000, SAMPLES),
        (10_000.0, SAMPLES, 1),
        (SLOW, 1_000, 1_000),
    ],
)
def test_the_less_a_batch_costs_the_less_of_it_is_timed(cost: float, count: int, timed: int) -> None:
    (times,) = run(chained(passes), list(range(count)), cost).times()
    assert (times.calls, times.timed) == (count, timed)


def test_of_very_many_timed_calls_a_sample_travels_and_the_whole_sum() -> None:
    def fans(record: int) -> Iterator[tuple[int, bool]]:
        yield from ((record, True) for _ in range(500))

    fan, after = run(chained(fans, passes), [1, 2], SLOW).times()
    assert (fan.calls, after.calls, after.timed) == (2, 1_000, 1_000)
    assert SAMPLES <= len(after.samples) <= 4 * SAMPLES
    assert sum(after.samples) < after.timed_ns


def test_how_much_is_timed_follows_what_the_last_batch_cost() -> None:
    chain = Chain(chained(passes))
    first, second = (chain.run(list(range(500)), Cursor().cells).times()[0].timed for _ in range(2))
    assert (first, second < 50) == (500, True)


def test_the_time_of_a_fan_out_is_its_own_and_not_that_of_its_children() -> None:
    spins = 20_000

    def fans(record: int) -> Iterator[tuple[int, bool]]:
        yield record, True
        yield record, True

    def works(record: int) -> tuple[int, bool]:
        return sum(range(spins)), True

    tally = run(chained(fans, works), list(range(20)))
    assert sum(tally.samples[0]) < sum(tally.samples[1]) / 4


@COSTS
def test_the_cursor_is_at_each_record_before_its_first_step(cost: float) -> None:
    cursor, seen = Cursor(), []

    def sees(record: int) -> tuple[int, bool]:
        seen.append(cursor.cells[1])
        return record, True

    chain = Chain(chained(sees))
    chain._record_ns = cost
    chain.run(list(range(70)), cursor.cells)
    assert seen == list(range(70))


@COSTS
def test_an_empty_batch_comes_to_nothing(cost: float) -> None:
    assert books(run(chained(passes), [], cost)) == ([], [], 0, 0, [], {}, [0])


class Odd(BaseException):
    """Not even an Exception."""


RAISED: list[BaseException] = [
    ValueError("bad"),
    SystemExit(3),
    KeyboardInterrupt(),
    StopIteration(1),
    StopAsyncIteration(),
    GeneratorExit(),
    asyncio.CancelledError(),
    TimeoutError(),
    MemoryError(),
    BrokenPipeError(),
    ExceptionGroup("several", [ValueError(1), KeyError(2)]),
    BaseExceptionGroup("several", [SystemExit(1)]),
    Odd("odd"),
]


def raises(record: Any, error: BaseException) -> tuple[Any, bool]:
    if record == 50:
        raise error
    return record, True


def raises_midway(record: Any, error: BaseException) -> Iterator[tuple[Any, bool]]:
    yield record, True
    if record == 50:
        raise error


def raises_after_a_fan_out(record: tuple[Any, int], error: BaseException) -> tuple[Any, bool]:
    if record == (50, 1):
        raise error
    return record, True


def twice(record: Any) -> Iterator[tuple[Any, bool]]:
    yield (record, 0), True
    yield (record, 1), True


@COSTS
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_a_step_raises_costs_its_record_and_no_other(error: BaseException, cost: float) -> None:
    spec = ChainSpec(("a", "b", "c"), (passes, partial(raises, error=error), passes), None)
    tally = run(spec, list(range(100)), cost)
    assert tally.results == [record for record in range(100) if record != 50]
    assert failures(tally) == [(50, 1, type(error).__name__)]
    assert tally.calls == [100, 100, 99]


@COSTS
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_a_generator_raises_midway_takes_back_what_it_had_yielded(error: BaseException, cost: float) -> None:
    spec = ChainSpec(("a", "b"), (partial(raises_midway, error=error), passes), None)
    tally = run(spec, list(range(100)), cost)
    kind = "RuntimeError" if isinstance(error, StopIteration) else type(error).__name__  # as Python has it
    assert tally.results == [record for record in range(100) if record != 50]
    assert failures(tally) == [(50, 0, kind)]
    assert (tally.spans, sum(tally.grown.values())) == ({50: 0}, 0)


@COSTS
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_a_child_of_a_fan_out_raises_costs_that_child(error: BaseException, cost: float) -> None:
    spec = ChainSpec(("a", "b"), (twice, partial(raises_after_a_fan_out, error=error)), None)
    tally = run(spec, list(range(100)), cost)
    assert tally.results == [(record, child) for record in range(100) for child in (0, 1) if (record, child) != (50, 1)]
    assert failures(tally) == [(50, 1, type(error).__name__)]
    assert tally.spans == {place: 2 for place in range(100) if place != 50}  # one result needs no mention
    assert sum(tally.grown.values()) == 100


@COSTS
def test_a_step_without_end_costs_its_record_and_no_other(cost: float) -> None:
    def recurses(record: int) -> tuple[int, bool]:
        return recurses(record) if record == 50 else (record, True)

    tally = run(chained(recurses), list(range(100)), cost)
    assert failures(tally) == [(50, 0, "RecursionError")]
    assert len(tally.results) == 99


def test_a_generator_is_closed_where_its_item_has_the_wrong_shape() -> None:
    closed = []

    def fans(record: int) -> Iterator[Any]:
        try:
            yield record
        finally:
            closed.append(record)

    assert failures(run(chained(fans), [7])) == [(0, 0, "StepError")]
    assert closed == [7]


def test_a_generator_that_raises_while_it_is_closed_costs_its_record_and_no_other() -> None:
    def fans(record: int) -> Iterator[Any]:
        try:
            yield (record, True) if record != 1 else record
        finally:
            if record == 1:
                raise OSError("while closing")

    tally = run(chained(fans), [0, 1, 2])
    assert failures(tally) == [(1, 0, "OSError")]
    assert tally.results == [0, 2]


def test_a_step_may_return_a_generator_that_it_did_not_write() -> None:
    def fans(record: int) -> Any:
        return ((record, True) for _ in range(3))

    assert run(chained(fans), [5]).results == [5, 5, 5]


@COSTS
@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (None, "None (NoneType)"),
        ("text", "'text' (str)"),
        ((1,), "(1,) (tuple)"),
        ((1, True, 2), "(1, True, 2) (tuple)"),
        ((1, 1), "(1, 1) (tuple)"),
        ((1, None), "(1, None) (tuple)"),
        ([1, True], "[1, True] (list)"),
        (True, "True (bool)"),
        (iter([1]), "<list_iterator"),
        (DROP.__class__, "<enum 'Drop'> (EnumType)"),
        ("x" * 1_000, "... (str)"),
    ],
)
def test_what_a_step_may_not_return_is_named_with_the_step(outcome: Any, shown: str, cost: float) -> None:
    def parse(record: int) -> Any:
        return outcome

    tally = run(chained(parse), [1] * 40, cost)
    assert len(tally.failures) == 40
    failure = tally.failures[-1]
    assert (failure.error_type, failure.kind, failure.traceback) == ("StepError", "raised", "")
    assert failure.message.startswith("step 'parse' returned ")
    assert shown in failure.message
    assert "expected (record, True) to go on" in failure.message
    assert len(failure.message) < 500


@pytest.mark.parametrize("outcome", [DROP, None, 5, (1, 2)])
def test_what_a_generator_may_not_yield_is_named_with_the_step(outcome: Any) -> None:
    def lines(record: int) -> Iterator[Any]:
        yield outcome

    (failure,) = run(chained(lines), [1]).failures
    assert failure.message.startswith(f"step 'lines' yielded {outcome!r} ")


def test_a_wrong_return_that_cannot_be_printed_is_still_reported() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise ValueError("no")

    assert "step 'parse' returned <unprintable> (Shy)" in wrong_shape("parse", Shy(), "returned")


def one_failure(step: Callable[[Any], Any]) -> WireFailure:
    (failure,) = run(chained(step), [1]).failures
    return failure


def test_a_traceback_shows_the_users_frames_and_none_of_ours() -> None:
    def inner(record: int) -> float:
        return record / 0

    def parse(record: int) -> Any:
        return inner(record), True

    failure = one_failure(parse)
    assert "in parse" in failure.traceback
    assert "in inner" in failure.traceback
    assert failure.traceback.rstrip().endswith("ZeroDivisionError: division by zero")
    assert chain_module.__file__ not in failure.traceback


def test_where_there_is_no_memory_for_a_traceback_it_has_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(record: int) -> Any:
        raise MemoryError

    def formats(*of: object) -> list[str]:
        raise MemoryError

    monkeypatch.setattr(traceback, "format_exception", formats)
    first, *places, last = one_failure(parse).traceback.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "MemoryError")
    assert places[-1].endswith(", in parse")


def test_a_traceback_has_what_the_error_came_from() -> None:
    def parse(record: int) -> Any:
        try:
            int("x")
        except ValueError as error:
            raise KeyError("bad order") from error

    failure = one_failure(parse)
    assert "invalid literal" in failure.traceback
    assert "direct cause" in failure.traceback


def test_a_long_message_is_cut() -> None:
    def parse(record: int) -> Any:
        raise ValueError("x" * 50_000_000)

    failure = one_failure(parse)
    assert failure.message == "x" * MESSAGE_LIMIT
    assert len(failure.traceback) <= TRACEBACK_LIMIT


def test_a_long_message_does_not_push_the_frames_out_of_the_traceback() -> None:
    def parse(record: int) -> Any:
        raise ValueError("x" * 1_000_000)

    assert "in parse" in one_failure(parse).traceback


def test_of_a_long_traceback_the_end_is_kept() -> None:
    def parse(record: int, depth: int = 0) -> Any:
        if depth >= 700:
            raise ValueError("at the bottom")
        return other(record, depth + 1)  # not itself: frames that repeat are shown once

    def other(record: int, depth: int) -> Any:
        return parse(record, depth + 1)

    failure = one_failure(parse)
    assert len(failure.traceback) <= TRACEBACK_LIMIT
    assert failure.traceback.rstrip().endswith("ValueError: at the bottom")


@pytest.mark.parametrize("problem", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_error_that_cannot_be_printed_is_still_reported(problem: type[BaseException]) -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise problem

    def parse(record: int) -> Any:
        raise Shy

    failure = one_failure(parse)
    assert failure.error_type == "Shy"
    assert failure.message == f"<its message could not be made: {problem.__name__}>"
    assert failure.traceback


class Hooked:
    """A pipeline that writes down its hooks."""

    def __init__(self, fail: str = "") -> None:
        self.log: list[str] = []
        self.fail = fail

    def setup(self) -> None:
        self.log.append("setup")
        if self.fail == "setup":
            raise OSError("no connection")

    def teardown(self) -> None:
        self.log.append("teardown")


def test_setup_runs_once_and_teardown_once_after_it() -> None:
    pipeline = Hooked()
    chain = Chain(ChainSpec(("p",), (passes,), pipeline))
    chain.setup()
    chain.setup()
    chain.teardown()
    chain.teardown()
    assert pipeline.log == ["setup", "teardown"]


def test_a_chain_that_was_never_set_up_is_not_torn_down() -> None:
    pipeline = Hooked()
    Chain(ChainSpec(("p",), (passes,), pipeline)).teardown()
    assert pipeline.log == []


def test_a_setup_that_raised_is_tried_again_and_not_torn_down() -> None:
    pipeline = Hooked(fail="setup")
    chain = Chain(ChainSpec(("p",), (passes,), pipeline))
    for _ in range(2):
        with pytest.raises(OSError, match="no connection"):
            chain.setup()
    chain.teardown()
    assert pipeline.log == ["setup", "setup"]


def test_hooks_are_optional() -> None:
    for pipeline in (None, object()):
        chain = Chain(ChainSpec(("p",), (passes,), pipeline))
        chain.setup()
        chain.teardown()


def test_records_in_a_trace_are_timed_one_by_one_and_their_steps_see_it() -> None:
    seen: list[str | None] = []

    def noted(record: int) -> tuple[int, bool]:
        seen.append(current_traceparent())
        if record == 4:
            raise ValueError(record)
        return record, True

    chain = Chain(ChainSpec(("noted", "noted"), (noted, noted), None))
    tally = Tally(2)
    tally.traced = {1: "one", 4: "four"}
    chain.run(list(range(6)), Cursor().cells, tally)
    assert seen == [None, None, "one", "one", None, None, None, None, "four", None, None]
    assert [(step.at, step.step) for step in tally.trace] == [(1, 0), (1, 1), (4, 0)]
    assert tally.results == [0, 1, 2, 3, 5]
    assert tally.calls == [6, 5]
    assert current_traceparent() is None


# Records that others may have.


def claims(*limits: int) -> Any:
    """As a cursor's `claim`: asked so many times it says how far the records are its worker's; then all are."""
    left = [*limits]

    def claim(begun: int, end: int) -> int:
        return max(begun, min(end, left.pop(0))) if left else end

    return claim


def doubled(record: int) -> tuple[int, bool]:
    return 2 * record, True


def test_a_chain_stops_where_others_have_the_rest() -> None:
    chain, tally = Chain(ChainSpec(("doubled",), (doubled,), None)), Tally(1)
    tally.claim = claims(100, 100, 5, 5)  # pieces of one and two records, and the next one is cut off
    chain.run(range(20), Cursor().cells, tally)
    assert tally.results == [0, 2, 4, 6, 8]
    assert tally.stop == 5
    assert tally.calls == [5]


def test_a_chain_that_nobody_takes_from_has_all() -> None:
    chain, tally = Chain(ChainSpec(("doubled",), (doubled,), None)), Tally(1)
    tally.claim = claims()
    chain.run(range(200), Cursor().cells, tally)
    assert tally.results == [2 * n for n in range(200)]
    assert (tally.stop, tally.calls) == (None, [200])


def all_doubled(records: list[int]) -> list[int]:
    return [2 * record for record in records]


@pytest.mark.parametrize("step", [doubled, vectorize(all_doubled)])
def test_what_goes_through_as_one_is_claimed_as_one_before_it_begins(step: Callable[[Any], Any]) -> None:
    chain, tally = Chain(ChainSpec(("doubled",), (step,), None)), Tally(1)
    tally.traced = {1: "first", 9: "ceded"}
    tally.claim = claims(5)  # asked again it would have all
    chain.run(range(20), Cursor().cells, tally)
    assert tally.results == [0, 2, 4, 6, 8]
    assert (tally.stop, tally.calls) == (5, [5])
    assert [step.at for step in tally.trace] == [1]


def test_a_fan_out_that_waits_keeps_what_is_its_own_when_it_goes_on() -> None:
    def many(record: int) -> Iterator[tuple[int, bool]]:
        for child in range(3):
            yield 10 * record + child, True

    chain, tally = Chain(ChainSpec(("many",), (many,), None)), Tally(1, Portions(2, 2**30))
    tally.claim = claims(100, 3)  # the first record fans out; what is left is asked for when it waits
    chain.run(range(20), Cursor().cells, tally)
    assert tally.under_way is not None
    assert tally.stop == 3
    results = [*tally.cut().results]
    tally.claim = None
    while tally.under_way is not None:
        chain.run(range(20), Cursor().cells, tally)
        results += [*(tally.cut().results if tally.under_way is not None else tally.results)]
    assert results == [10 * record + child for record in range(3) for child in range(3)]


def test_each_thread_has_written_out_loops_of_its_own_and_keeps_them() -> None:
    chain, made = Chain(chained(passes)), list[Any]()

    def look() -> None:
        made.append([chain._unroll(), chain._unroll()])

    for _ in range(2):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    look()
    assert all(first is again for first, again in made)
    assert len({id(first) for first, _ in made}) == 3
    cells = [cell for first, _ in made for cell in first.cells]
    assert len({*map(id, cells)}) == len(cells)  # where there is no GIL each look at one has it locked
