"""Every form a feed may have, over the same numbers; each tells a `Tap` what it hands over and when it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count, islice
from typing import Any

from aiostream import stream

from pipeframe_async import Chunk
from tests.engine.harness import Tap

CLOSING = 0.05
"""Seconds that the async feeds here take to close: a clean-up that awaits, as of a socket."""

Form = Callable[[Tap, "int | None", float], Any]


async def numbers(tap: Tap, n: int | None, pause: float = 0.0) -> AsyncIterator[int]:
    """0, 1, … n - 1, or for ever; with a pause after each."""
    tap.opened += 1
    try:
        for number in count() if n is None else range(n):
            tap.hand()
            yield number
            if pause:
                await asyncio.sleep(pause)
    finally:
        await asyncio.sleep(CLOSING)
        tap.closed += 1


async def chunked(tap: Tap, n: int | None, pause: float = 0.0) -> AsyncIterator[Chunk[int] | int]:
    """The same in chunks of 1, 2, 3 … 9 records, with one by itself between them."""
    tap.opened += 1
    source = iter(count() if n is None else range(n))
    try:
        for size in count():
            records = list(islice(source, 1 + size % 9))
            if not records:
                return
            tap.hand(len(records))
            yield records[0] if size % 4 == 0 and len(records) == 1 else Chunk(records)
            if pause:
                await asyncio.sleep(pause)
    finally:
        await asyncio.sleep(CLOSING)
        tap.closed += 1


class Ticker:
    """An async iterator that is no generator, and needs no closing."""

    def __init__(self, tap: Tap, n: int | None, pause: float) -> None:
        self._tap, self._pause = tap, pause
        self._numbers = iter(count() if n is None else range(n))

    def __aiter__(self) -> Ticker:
        return self

    async def __anext__(self) -> int:
        for number in self._numbers:
            if self._pause and number:
                await asyncio.sleep(self._pause)
            self._tap.hand()
            return number
        raise StopAsyncIteration


def async_bucket(tap: Tap, n: int | None, pause: float) -> Any:
    async def feed(bucket: Any) -> None:
        tap.opened += 1
        try:
            for number in count() if n is None else range(n):
                await bucket.put(number)
                tap.hand()
                if pause:
                    await asyncio.sleep(pause)
        finally:
            await asyncio.sleep(CLOSING)
            tap.closed += 1

    return feed


def generated(tap: Tap, n: int | None) -> Iterator[int]:
    tap.opened += 1
    try:
        for number in count() if n is None else range(n):
            tap.hand()
            yield number
    finally:
        tap.closed += 1


def generated_chunks(tap: Tap, n: int | None) -> Iterator[Chunk[int] | int]:
    tap.opened += 1
    source = iter(count() if n is None else range(n))
    try:
        for size in count():
            if not (records := list(islice(source, 1 + size % 9))):
                return
            tap.cut = len(records) - 1
            tap.hand(len(records))
            yield Chunk(records)
    finally:
        tap.closed += 1


def bucket(tap: Tap, n: int | None) -> Any:
    def feed(bucket: Any) -> None:
        tap.opened += 1
        try:
            for number in count() if n is None else range(n):
                bucket.put(number)
                tap.hand()
        finally:
            tap.closed += 1

    return feed


class Reread:
    """An iterable that makes a new iterator each time."""

    def __init__(self, tap: Tap, n: int | None) -> None:
        self._tap, self._n = tap, n

    def __iter__(self) -> Iterator[int]:
        return generated(self._tap, self._n)


ON_LOOP: dict[str, Form] = {
    "async generator": numbers,
    "async generator function": lambda tap, n, pause: lambda: numbers(tap, n, pause),
    "chunks": chunked,
    "async feed(bucket)": async_bucket,
    "aiostream": lambda tap, n, pause: stream.iterate(numbers(tap, n, pause)),
    "aiostream pipe": lambda tap, n, pause: stream.map(stream.iterate(numbers(tap, n, pause)), lambda x, *_: x),
    "async iterator": Ticker,
}
"""Pulled on the loop. The last one has nothing to close."""

CLOSED = {name: form for name, form in ON_LOOP.items() if name != "async iterator"}

IN_THREAD: dict[str, Callable[[Tap, int | None], Any]] = {
    "generator": generated,
    "generator function": lambda tap, n: lambda: generated(tap, n),
    "iterable": Reread,
    "function that returns": lambda tap, n: lambda: Reread(tap, n),
    "chunks": generated_chunks,
    "feed(bucket)": bucket,
}
"""Pulled in a thread."""
