"""The watermark is the length of the unbroken row of final records."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.watermark import Watermark
from pipeframe_async.errors import InternalError

RUNS = st.lists(st.integers(1, 5), max_size=40)


@given(RUNS, st.randoms(use_true_random=False))
def test_it_is_the_number_of_records_before_the_first_gap(lengths: list[int], random: object) -> None:
    begins = [sum(lengths[:number]) for number in range(len(lengths))]
    runs = list(zip(begins, lengths, strict=True))
    random.shuffle(runs)  # type: ignore[attr-defined]
    watermark, final = Watermark(), set[int]()
    for first, count in runs:
        before = watermark.value
        rose = watermark.final(first, count)
        final |= set(range(first, first + count))
        assert watermark.value == next(at for at in range(len(final) + 1) if at not in final)
        assert rose is (watermark.value > before)
    assert watermark.value == sum(lengths)


def test_what_is_final_stays_so_once() -> None:
    watermark = Watermark()
    watermark.final(0, 3)
    watermark.final(5, 1)
    for first in (0, 2, 5):
        with pytest.raises(InternalError, match=f"position {first} became final twice"):
            watermark.final(first, 1)
    assert watermark.value == 3


@given(RUNS, st.randoms(use_true_random=False))
def test_what_is_final_twice_is_an_error_of_ours_and_changes_nothing(lengths: list[int], random: Random) -> None:
    begins = [sum(lengths[:number]) for number in range(len(lengths))]
    runs = list(zip(begins, lengths, strict=True))
    random.shuffle(runs)
    watermark, final, begun = Watermark(), set[int](), set[int]()
    for first, count in runs:
        watermark.final(first, count)
        begun.add(first)
        final |= set(range(first, first + count))
        unbroken = next(at for at in range(len(final) + 1) if at not in final)
        for again in begun | set(range(unbroken)):
            with pytest.raises(InternalError, match=f"position {again} became final twice"):
                watermark.final(again, 1)
        assert watermark.value == unbroken


def test_before_anything_is_final_it_is_none() -> None:
    watermark = Watermark()
    assert watermark.value == 0
    assert not watermark.final(1, 1)
    assert watermark.value == 0
