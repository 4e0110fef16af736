"""How far a partition is final."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async.feeds.offsets import Offsets


def made(*offsets: int, begin: int = 0) -> Offsets[None]:
    """A partition that has given these out."""
    book = Offsets[None](begin)
    book.given(dict.fromkeys(offsets))
    return book


def test_it_begins_where_its_consumer_does() -> None:
    assert made(begin=7).watermark == 7


def test_only_what_is_contiguously_final_is_passed() -> None:
    book = made(0, 1, 2, 3)
    for offset, watermark in ((2, 0), (1, 0), (0, 3), (3, 4)):
        book.final(offset)
        assert book.watermark == watermark


def test_offsets_that_no_record_has_are_not_waited_for() -> None:
    book = made(3, 9, 10)
    book.final(3)
    assert book.watermark == 9
    book.final(9)
    book.final(10)
    assert book.watermark == 11
    book.passed(14)  # the last ones were markers of a transaction
    assert book.watermark == 14


def test_what_comes_is_no_reason_to_pass_what_is_open() -> None:
    book = made(0)
    book.passed(5)
    book.given({5: None})
    book.final(5)
    assert book.watermark == 0
    assert book.ahead == 6


def test_an_answer_that_comes_twice_is_no_matter() -> None:
    book = made(0, 1)
    book.final(0)
    book.final(0)
    assert book.watermark == 1


@given(st.sets(st.integers(0, 200), min_size=1), st.randoms())
def test_it_is_the_first_that_is_not_final_and_keeps_no_others(offsets: set[int], chance: object) -> None:
    given_out = sorted(offsets)
    answered = sorted(offsets, key=lambda _: chance.random())  # type: ignore[attr-defined]
    book = made(*given_out)
    for count, offset in enumerate(answered, 1):
        book.final(offset)
        rest = offsets - {*answered[:count]}
        assert {*book.open} == rest
        assert book.watermark == min(rest, default=given_out[-1] + 1)
