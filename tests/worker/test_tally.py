"""In portions a batch comes to what it comes to at once; and what has left is not taken back, nor made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async._worker import tally as tally_module
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


def sized(*sizes: int) -> Callable[[int], Iterator[tuple[bytes, bool]]]:
    def makes(count: int) -> Iterator[tuple[bytes, bool]]:
        yield from ((bytes(sizes[number % len(sizes)]), True) for number in range(count))

    return makes


@pytest.mark.parametrize("sizes", [(1000,), (2000, 0), (0, 2000), (1, 1, 1, 1, 1, 1, 1, 8000)])
def test_large_results_leave_before_there_are_many(sizes: tuple[int, ...]) -> None:
    left = list(in_portions(chained(sized(*sizes)), [200], Portions(10_000, 10_000)))
    assert all(sum(map(len, tally.results)) < 20_000 for tally in left)


def test_failures_leave_as_results_do() -> None:
    def fails(number: int) -> Any:
        raise ValueError(number)

    left = list(in_portions(chained(fans, fails), [100], Portions(10, ANY_BYTES)))
    assert all(len(tally.failures) <= 10 for tally in left[:-1])
    assert sum(len(tally.failures) for tally in left) == 100


def test_of_a_slow_fan_out_children_leave_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(tally_module, "monotonic", lambda: next(clock) * 0.9)
    left = list(in_portions(chained(fans), [200], Portions(10**6, ANY_BYTES)))
    assert len(left) > 2
    assert all(len(tally.results) >= tally_module.TOGETHER - 1 for tally in left[:-1])


def test_a_result_that_has_no_pickle_is_no_reason_to_fail_here() -> None:
    def odd(count: int) -> Iterator[tuple[Any, bool]]:
        yield from ((lambda: None, True) for _ in range(count))

    left = list(in_portions(chained(odd), [10], Portions(3, 2**20)))
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


@settings(max_examples=300)
@given(PROGRAM.filter(harmless), st.integers(0, 30), st.integers(1, 4), st.integers(0, 20))
def test_a_worker_that_dies_loses_and_doubles_nothing(program: Program, count: int, most: int, at: int) -> None:
    """What has left comes from the first life, the rest from the second, which begins with the open record."""
    records, spec = [(number,) for number in range(count)], chain_of(program)
    whole = list(in_portions(spec, records, Portions(most, ANY_BYTES)))
    kept = whole[: min(at, len(whole) - 1)]
    if not kept:
        return
    assert kept[-1].under_way is not None
    opened = max(kept[-1].spans)  # the record that was under way is in it, and none behind it
    again = list(in_portions(spec, records[opened:], Portions(most, ANY_BYTES, kept[-1].gone)))
    assert totals([*kept, *again], opened, len(kept)) == totals(whole, 0, len(whole))


def totals(left: list[Tally], opened: int, before: int) -> tuple[Any, ...]:
    """Results, failures, and how many were filtered; those of portions from `before` on count from record `opened`."""
    failures = [
        (failure.at + (opened if number >= before else 0), failure.step, failure.child)
        for number, tally in enumerate(left)
        for failure in tally.failures
    ]
    return [r for tally in left for r in tally.results], sorted(map(repr, failures)), sum(t.filtered for t in left)


def test_of_a_generator_that_has_raised_what_had_left_is_not_made_again() -> None:
    def inner(number: int) -> Iterator[tuple[Any, bool]]:
        yield from (((number, child), True) for child in range(6 if number == 1 else 0 if number == 2 else 3))
        if number == 1:
            raise OSError("the file ends here")

    spec, portions = chained(fans, inner), Portions(2, ANY_BYTES)
    whole = list(in_portions(spec, [6], portions))
    results = [result for tally in whole for result in tally.results]
    assert len(set(results)) == len(results)
    for at in range(1, len(whole)):
        again = list(in_portions(spec, [6], portions._replace(gone=whole[at - 1].gone)))
        both = [*whole[:at], *again]
        assert [result for tally in both for result in tally.results] == results
        assert [failure.error_type for tally in both for failure in tally.failures] == ["OSError"]
        assert sum(tally.filtered for tally in both) == 1


def test_a_fan_out_that_is_shorter_when_it_is_made_again_has_nothing_more() -> None:
    (tally,) = in_portions(chained(fans), [3], Portions(100, ANY_BYTES, (5,)))
    assert (tally.results, tally.filtered, tally.grown) == ([], 1, {})


def test_while_children_are_passed_over_it_is_said_that_this_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(tally_module, "monotonic", lambda: next(clock) * 0.1)
    left = list(in_portions(chained(fans), [30], Portions(10**6, ANY_BYTES, (20,))))
    assert len(left) > 3
    assert all((tally.results, tally.gone) == ([], (20,)) for tally in left[:-1])
    assert left[-1].results == list(range(20, 30))


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
