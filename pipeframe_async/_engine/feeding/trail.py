"""A job's feed, gone on with: it begins where it was before, and where it is now is noted as it is pulled.

Of what comes again, what is done goes no further. A feed that cannot `seek` begins at its beginning, and leaves no
marks. It may be pulled in a thread, which appends marks; the loop takes them from the front.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from pipeframe_async._engine.settling.books import Books
from pipeframe_async._rules.feed_forms import Feed, Form
from pipeframe_async._rules.resume import Skipping
from pipeframe_async.checkpoint import Mark
from pipeframe_async.model import Chunk

SEEKING = (Form.SYNC, Form.ASYNC, Form.TAKEN)
"""Forms of feeds that are objects with methods of their own."""

MARKED = 1_000
"""Marks from which on a next one is worth having only a thousandth of what they span behind the last: fifteen thousand
for a billion records. Fewer have more pulled again that is done; more are memory, for a batch feed is pulled to its end
before its first record is final."""


class Trail:
    """Where a feed has been.

    Args:
        begin: where it begins; None is its beginning.

    Attributes:
        marks: by how many records it had yielded, in order.
    """

    def __init__(self, begin: Mark | None = None) -> None:
        self.begin = begin
        self.marks = deque([] if begin is None else [begin])
        self._yielded = self.skipped

    @property
    def skipped(self) -> int:
        """Records before the place where it begins."""
        return 0 if self.begin is None else self.begin.records

    def passed(self, records: int, feed: Any) -> None:
        """It has yielded so many more, and says where it is behind them, if it can."""
        self._yielded += records
        marks = self.marks
        if len(marks) >= MARKED and self._yielded - marks[-1].records < (self._yielded - marks[0].records) / MARKED:
            return
        if (position := feed.position) is not None:
            marks.append(Mark(self._yielded, position))


class _Pulled:
    """A feed that is pulled in a thread."""

    def __init__(self, feed: Feed, trail: Trail) -> None:
        self._value = feed.value
        self._trail = trail

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[object]:
        value, trail = self._value, self._trail
        if trail.begin is not None:
            value.seek(trail.begin.position)
        iterator = iter(value)
        try:
            for one in iterator:
                trail.passed(_records(one), value)
                yield one
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()


class _Followed:
    """A feed that is pulled on the loop."""

    def __init__(self, feed: Feed, trail: Trail) -> None:
        self._value = feed.value
        self._trail = trail

    async def __aiter__(self) -> AsyncIterator[object]:
        value, trail = self._value, self._trail
        await _sought(value, trail)
        iterator = aiter(value)
        try:
            async for one in iterator:  # the user's; what cancels it is passed on
                trail.passed(_records(one), value)
                yield one
        finally:
            if (aclose := getattr(iterator, "aclose", None)) is not None:
                await aclose()


class _Asked:
    """A feed that is asked for records."""

    def __init__(self, feed: Feed, trail: Trail) -> None:
        self._value = feed.value
        self._trail = trail
        self._begun = False

    async def take(self, room: int) -> list[object] | None:
        """What it has."""
        if not self._begun:
            self._begun = True
            await _sought(self._value, self._trail)
        taken: list[object] | None = await self._value.take(room)  # the user's; where it is cancelled it loses none
        if taken is not None:
            self._trail.passed(sum(map(_records, taken)), self._value)
        return taken


def followed(feed: Feed, trail: Trail) -> Feed:
    """A feed that begins where it is to, and leaves its trail; as it is where it cannot."""
    if not feed.seeks or feed.called or feed.form not in SEEKING:
        return feed
    kind = {Form.SYNC: _Pulled, Form.ASYNC: _Followed, Form.TAKEN: _Asked}[feed.form]
    return replace(feed, value=kind(feed, trail))


async def _sought(value: object, trail: Trail) -> None:
    if trail.begin is not None:
        sought = value.seek(trail.begin.position)  # type: ignore[attr-defined]  # it has one: that was looked at
        if inspect.isawaitable(sought):
            await sought  # the user's


def not_done(records: list[Any], skipping: Skipping, books: Books) -> list[Any]:
    """Of records that have come again those that are not done; the others are booked, and their source hears of it."""
    fresh, at = list[Any](), 0
    for first, end in skipping.take(len(records)):
        books.skip(records[at:first])
        fresh += records[first:end]
        at = end
    books.skip(records[at:])
    return fresh


def _records(one: object) -> int:
    return len(one.records) if isinstance(one, Chunk) else 1
