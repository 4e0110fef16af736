"""Contestants take turns, their knobs are tried, and wrong work is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.asking.measure import WrongWork, interleaved
from benchmarks.contestants.contestant import Contestant
from benchmarks.works import trivial as work
from benchmarks.works.workload import Done


def contestant(run: Any, records: int = 100, **more: Any) -> Contestant:
    return Contestant("t", "a contestant", records, run, work.expected, **more)


def test_a_contestant_that_loses_a_record_is_refused() -> None:
    with pytest.raises(WrongWork, match="a contestant"):
        interleaved([contestant(lambda records: work.expected(records - 1))], 1)


def test_a_contestant_that_changes_a_record_is_refused() -> None:
    with pytest.raises(WrongWork, match="a contestant"):
        interleaved([contestant(lambda records: Done(records, 1))], 1)


def test_a_contestant_that_should_keep_the_order_is_refused_when_it_does_not() -> None:
    def disordered(records: int) -> Done:
        return work.expected(records)._replace(in_order=False)

    with pytest.raises(WrongWork, match="order"):
        interleaved([contestant(disordered)], 1)
    assert len(interleaved([contestant(disordered, keeps_order=False)], 1)) == 1


def test_contestants_take_turns_and_the_first_is_not_always_the_same() -> None:
    calls: list[str] = []

    def named(name: str) -> Contestant:
        def run(records: int) -> Done:
            if records > 1:
                calls.append(name)
            return work.expected(records)

        return replace(contestant(run), key=name)

    interleaved([named("a"), named("b"), named("c")], 3)
    assert calls == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_a_knob_is_tried_twice_a_choice_on_a_part_and_the_best_try_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("benchmarks.asking.measure.time.perf_counter", lambda: clock[0])
    tries = {1: [5.0, 5.0], 2: [9.0, 1.0], 3: [4.0, 4.0]}  # the second try of 2 is its best: noise hit the first
    asked_for: list[int] = []

    def run(records: int, choice: int) -> Done:
        asked_for.append(records)
        clock[0] += tries[choice].pop(0) if tries[choice] else 2.0
        return work.expected(records)

    (timing,) = interleaved([contestant(run, choices=(1, 2, 3), knob="size")], 2)
    assert timing.choice == 2
    assert timing.swept == {1: 5.0, 2: 25.0, 3: 6.25}
    assert timing.rates == [50.0, 50.0]
    assert asked_for == [25] * 6 + [1, 100] * 2
