"""A feed that can be gone back to begins where it is told, and leaves marks of where it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest

from pipeframe_async import Chunk
from pipeframe_async._engine.feeding.trail import Trail, followed
from pipeframe_async._rules.feed_forms import Feed, Form, feed_form
from pipeframe_async.checkpoint import Mark


class Numbers:
    """0 to 9; its position is the next one."""

    def __init__(self) -> None:
        self.position: int | None = None
        self.at, self.closed = 0, False

    def seek(self, position: int) -> None:
        self.at = position

    def __iter__(self) -> Iterator[Any]:
        try:
            for number in range(self.at, 10):
                self.position = number + 1
                yield number
        finally:
            self.closed = True

    def __len__(self) -> int:
        return 10


class Sent(Numbers):
    """The same on the loop, where it may take time to go back."""

    __iter__ = None  # type: ignore[assignment]

    async def seek(self, position: int) -> None:  # type: ignore[override]
        self.at = position

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            for number in range(self.at, 10):
                self.position = number + 1
                yield number
        finally:
            self.closed = True


class Asked(Numbers):
    """The same, asked for as many as there is room for."""

    streams = True

    async def take(self, room: int) -> list[int] | None:
        taken = list(range(self.at, min(10, self.at + room)))
        self.position = self.at = self.at + len(taken)
        return taken or None


def trail_of(numbers: Numbers, begin: Mark | None = None) -> tuple[Feed, Trail]:
    feed = feed_form(numbers, "P")
    trail = Trail(begin)
    return followed(feed, trail), trail


async def pulled(feed: Feed, most: int = 10) -> list[int]:
    found: list[int] = []
    if feed.form is Form.TAKEN:
        while len(found) < most and (taken := await feed.value.take(min(2, most - len(found)))) is not None:
            found += taken
    elif feed.form is Form.ASYNC:
        iterator = aiter(feed.value)
        async for one in iterator:
            found.append(one)
            if len(found) == most:
                break
        await iterator.aclose()
    else:
        iterator = iter(feed.value)
        for one in iterator:
            found.append(one)
            if len(found) == most:
                break
        iterator.close()
    return found


KINDS = pytest.mark.parametrize("kind", [Numbers, Sent, Asked])


@KINDS
async def test_it_yields_what_it_did_and_marks_where_it_is(kind: type[Numbers]) -> None:
    feed, trail = trail_of(kind())
    assert await pulled(feed, 4) == [0, 1, 2, 3]
    assert trail.marks[-1] == Mark(4, 4)
    assert all(mark.records == mark.position for mark in trail.marks)


@KINDS
async def test_it_begins_where_it_was_and_counts_on_from_there(kind: type[Numbers]) -> None:
    feed, trail = trail_of(kind(), Mark(100, 6))  # each of its numbers was a hundred records ago
    assert (trail.skipped, list(trail.marks)) == (100, [Mark(100, 6)])
    assert await pulled(feed) == [6, 7, 8, 9]
    assert trail.marks[-1] == Mark(104, 10)


@pytest.mark.parametrize("kind", [Numbers, Sent])
async def test_it_is_closed_when_nobody_pulls_any_more(kind: type[Numbers]) -> None:
    numbers = kind()
    await pulled(trail_of(numbers)[0], 2)
    assert numbers.closed


def test_a_chunk_is_as_many_records_as_it_has() -> None:
    class Chunks(Numbers):
        def __iter__(self) -> Iterator[Any]:
            self.position = 3
            yield Chunk([0, 1, 2])

    feed, trail = trail_of(Chunks())
    assert [one.records for one in feed.value] == [[0, 1, 2]]
    assert list(trail.marks) == [Mark(3, 3)]


def test_where_it_cannot_be_gone_back_to_there_is_no_mark() -> None:
    class Piped(Numbers):
        def __iter__(self) -> Iterator[Any]:
            self.position = None
            yield from range(3)

    feed, trail = trail_of(Piped())
    assert list(feed.value) == [0, 1, 2]
    assert not trail.marks


def test_marks_of_a_long_feed_are_no_further_apart_than_a_thousandth_of_it_and_few() -> None:
    class Long(Numbers):
        def __iter__(self) -> Iterator[Any]:
            for number in range(100_000):
                self.position = number + 1
                yield number

    feed, trail = trail_of(Long())
    assert sum(1 for _ in feed.value) == 100_000
    assert len(trail.marks) < 7_000
    assert all(later.records - mark.records <= 100 for mark, later in pairwise(trail.marks))
    assert trail.marks[-1].records > 99_900


def test_it_is_as_long_as_it_says() -> None:
    assert len(trail_of(Numbers())[0].value) == 10


def test_a_feed_that_cannot_seek_is_left_alone() -> None:
    feed = feed_form([1, 2], "P")
    assert followed(feed, Trail()) is feed
