"""Blocks into lines: whatever the blocks are, the lines are those of the whole; none costs more memory than it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async.feeds.splitting import SHOWN, Splitter, TooLong, Unmarked

TEXT = st.lists(st.sampled_from([b"", b"a", b"bc\r", b"\n", b"\n\n", b"d" * 9]), max_size=30).map(b"".join)


def cut(text: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({*(place % (len(text) + 1) for place in places), len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def split(blocks: list[bytes], most: int = 1_000) -> list[bytes | TooLong]:
    splitter = Splitter("path", most)
    return [line for block in blocks for line in splitter.split(block)] + splitter.end()


@given(text=TEXT, places=st.lists(st.integers(0, 1_000), max_size=10))
def test_the_lines_do_not_depend_on_the_blocks(text: bytes, places: list[int]) -> None:
    whole = text.split(b"\n")
    assert split(cut(text, places)) == (whole if whole[-1] else whole[:-1])


@given(text=TEXT, places=st.lists(st.integers(0, 1_000), max_size=10), most=st.integers(1, 12))
def test_a_line_that_is_too_long_stands_there_as_such_with_its_number(
    text: bytes, places: list[int], most: int
) -> None:
    whole = text.split(b"\n")
    wanted = [
        line if len(line) <= most else TooLong("path", number, most, line[:SHOWN])
        for number, line in enumerate(whole if whole[-1] else whole[:-1], 1)
    ]
    found = split(cut(text, places), most)
    assert [(line.line, line.limit) if isinstance(line, TooLong) else line for line in found] == [
        (line.line, line.limit) if isinstance(line, TooLong) else line for line in wanted
    ]


@given(text=TEXT, places=st.lists(st.integers(0, 1_000), max_size=10), most=st.integers(1, 12))
def test_it_knows_where_the_last_line_has_ended(text: bytes, places: list[int], most: int) -> None:
    splitter, given_so_far = Splitter("path", most, lines=7), b""
    for block in cut(text, places):
        splitter.split(block)
        given_so_far += block
        assert (splitter.at, splitter.ended) == (given_so_far.rfind(b"\n") + 1, False)
        assert splitter.lines == 7 + given_so_far.count(b"\n")
    splitter.end()
    assert (splitter.at, splitter.ended) == (len(text), True)


def test_of_an_endless_line_no_more_is_held_than_a_line_may_have() -> None:
    splitter = Splitter("path", 100)
    for _ in range(1_000):
        assert splitter.split(b"x" * 50) == []
        assert sum(map(len, splitter._parts)) <= 150
    [line] = splitter.end()
    assert line == TooLong("path", 1, 100, b"x" * 150)
    assert str(line.refused()) == "line 1 of path is longer than max_line=100 bytes"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("mark", [b"", b"\xef", b"\xef\xbb", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("text", [b"", b"text"])
def test_a_mark_is_taken_away_however_it_comes(size: int, mark: bytes, text: bytes) -> None:
    data = mark + text
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    unmarked = Unmarked(blocks)
    assert b"".join(unmarked) == (text if len(mark) == 3 else data)
    assert unmarked.passed == (3 if len(mark) == 3 else 0)
