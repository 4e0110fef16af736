"""In portions a batch comes to what it comes to at once; and what has left is not taken back, nor made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async._worker.tally import Tally
from pipeframe_async.wire import ChainSpec, Portions
from tests.worker.programs import PROGRAM, Expected, FanOut, Program, chain_of

ANY_BYTES = 2**30


def in_portions(spec: ChainSpec, records: list[Any], portions: Portions) -> Iterator[Tally]:
    """What leaves, one after the other; the last is what is left at the end."""
    chain, tally = Chain(spec), Tally(len(spec.steps), portions)
    chain.run(records, Cursor().cells, tally)
    while tally.under_way is not None:
        yield tally.cut()
        chain.run(records, Cursor().cells, tally)
    yield tally


def harmless(program: Program) -> bool:
    """No generator of it fails."""
    fans = [action for actions in program for action in actions if isinstance(action, FanOut)]
    return not any({"raise", "shape", "drop"} & {*fan.items} for fan in fans)


def summed(left: list[Tally]) -> tuple[Any, ...]:
    """Everything of some portions but the times and what is told by record."""
    results = [result for tally in left for result in tally.results]
    begins = [sum(len(tally.results) for tally in left[:at]) for at in range(len(left))]
    return (
        results,
        [begin + at for begin, tally in zip(begins, left, strict=True) for at in tally.bypass_at],
        sum(tally.filtered for tally in left),
        sorted((failure.at, failure.step) for tally in left for failure in tally.failures),
        [sum(calls) for calls in zip(*(tally.calls for tally in left), strict=True)],
    )


@settings(max_examples=300)
@given(PROGRAM.filter(harmless), st.integers(0, 40), st.integers(1, 12))
def test_portions_come_to_what_the_batch_comes_to(program: Program, count: int, most: int) -> None:
    records = [(number,) for number in range(count)]
    left = list(in_portions(chain_of(program), records, Portions(most, ANY_BYTES)))
    expected = Expected(program).run(records)
    failures = sorted((at, step) for at, step, _ in expected.failures)
    assert summed(left) == (expected.results, expected.bypass_at, expected.filtered, failures, expected.calls)


@settings(max_examples=300)
@given(PROGRAM, st.integers(0, 40), st.integers(1, 12))
def test_each_portion_accounts_for_each_of_its_records_once(program: Program, count: int, most: int) -> None:
    records, reached = [(number,) for number in range(count)], 0
    for tally in in_portions(chain_of(program), records, Portions(most, ANY_BYTES)):
        assert tally.first == reached
        end = count if tally.under_way is None else tally.under_way.index
        outcomes = len(tally.results) + tally.filtered + len(tally.failures)
        assert end - reached + sum(tally.grown.values()) == outcomes
        spans = [tally.spans.get(index, 1) for index in range(reached, end + (tally.under_way is not None))]
        assert sum(spans) == len(tally.results)
        reached = end
    assert reached == count


@given(st.integers(1, 60), st.integers(1, 20))
def test_no_portion_has_more_results_than_is_wanted_and_the_last_has_one(children: int, most: int) -> None:
    left = list(in_portions(chained(fans), [children], Portions(most, ANY_BYTES)))
    assert all(len(tally.results) <= most for tally in left[:-1])
    assert 1 <= len(left[-1].results) <= most + 1
    assert [result for tally in left for result in tally.results] == list(range(children))


def test_large_results_leave_before_there_are_many() -> None:
    def large(count: int) -> Iterator[tuple[bytes, bool]]:
        yield from ((bytes(1000), True) for _ in range(count))

    left = list(in_portions(chained(large), [100], Portions(10_000, 10_000)))
    assert all(len(tally.results) <= 20 for tally in left)


def test_a_result_that_has_no_pickle_is_no_reason_to_fail_here() -> None:
    def odd(count: int) -> Iterator[tuple[Any, bool]]:
        yield from ((lambda: None, True) for _ in range(count))

    left = list(in_portions(chained(odd), [10], Portions(3, 1)))
    assert sum(len(tally.results) for tally in left) == 10
    assert not any(tally.failures for tally in left)


def test_records_that_have_ended_leave_before_children_of_the_one_that_has_not() -> None:
    left = list(in_portions(chained(fans), [2, 2, 3, 2], Portions(4, ANY_BYTES)))
    assert [tally.results for tally in left] == [[0, 1, 0, 1], [0, 1, 2], [0, 1]]
    assert left[0].spans == {0: 2, 1: 2, 2: 0}


@pytest.mark.parametrize(("children", "stay"), [(3, []), (10, [0, 1, 2, 3, 4, 5, 6, 7])])
def test_a_generator_that_raises_takes_back_what_has_not_left(children: int, stay: list[int]) -> None:
    def raises(count: int) -> Iterator[tuple[int, bool]]:
        yield from fans(count)
        raise OSError("the file ends here")

    left = list(in_portions(chained(raises), [children, 1], Portions(4, ANY_BYTES)))
    assert [result for tally in left for result in tally.results] == stay
    assert [failure.at for tally in left for failure in tally.failures] == [0, 1]


@given(st.integers(0, 30), st.integers(1, 8))
def test_what_had_left_in_a_life_before_is_passed_over(gone: int, most: int) -> None:
    def halves(number: int) -> Any:
        if number % 5 == 3:
            raise ValueError(number)
        return number, True

    left = list(in_portions(chained(fans, halves), [31, 2], Portions(most, ANY_BYTES, gone)))
    outcomes = [number for number in range(31) if number % 5 != 3]
    failed = [number for number in range(31) if number % 5 == 3]
    assert [result for tally in left for result in tally.results] == [n for n in outcomes if n >= gone] + [0, 1]
    assert sum(len(tally.failures) for tally in left) == len([n for n in failed if n >= gone])


def test_a_fan_out_that_is_shorter_when_it_is_made_again_has_nothing_more() -> None:
    (tally,) = in_portions(chained(fans), [3], Portions(100, ANY_BYTES, 5))
    assert (tally.results, tally.filtered, tally.grown) == ([], 1, {})


def test_generators_that_nobody_wants_are_closed_the_innermost_first() -> None:
    closed: list[str] = []

    def outer(count: int) -> Iterator[tuple[int, bool]]:
        try:
            yield from fans(count)
        finally:
            closed.append("outer")

    def inner(number: int) -> Iterator[tuple[int, bool]]:
        try:
            yield from fans(10)
        finally:
            closed.append("inner")
            raise OSError("and says so")

    tally = next(in_portions(chained(outer, inner), [10], Portions(4, ANY_BYTES)))
    assert tally.under_way is not None
    tally.under_way.close()
    assert closed == ["inner", "outer"]


def chained(*steps: Callable[[Any], Any]) -> ChainSpec:
    return ChainSpec(tuple(step.__name__ for step in steps), steps, None)


def fans(count: int) -> Iterator[tuple[int, bool]]:
    yield from ((number, True) for number in range(count))
