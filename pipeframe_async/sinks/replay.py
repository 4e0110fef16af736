"""`Replay`: dead letters as a feed. What is handled is removed from the file, what fails again counts one more attempt.

Tasks: `take` is called by the run's intake; one task of its own writes down what records came to, many at once, in the
thread that has the file. A record's permit is held until its outcome is in the file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import isfinite
from typing import Any, Final, TypeVar

from pipeframe_async.errors import ConfigError, StateError, text_of
from pipeframe_async.locks import Lock
from pipeframe_async.model import AnyFailure, Chunk, Delivery, Failure
from pipeframe_async.sinks.letters import Letter, Letters, Wanted

R = TypeVar("R")

MOST: Final = 1_000
"""Entries that are read at once. More hold up the first, fewer cost queries."""
FLUSH: Final = 0.02
"""Seconds that an outcome waits for others. Longer holds up permits, shorter costs transactions."""
A_LOOK: Final = 0.05
"""Seconds' worth of a rate that is given out at once. Less costs wake-ups, more comes in bursts."""


class Replay:
    """Records of dead letters, each once; made by `DeadLetters.replay`, where its arguments are explained."""

    streams = True
    replays = True

    def __init__(self, path: str, wanted: Wanted, *, rate: float | None, trust: bool) -> None:
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if rate is not None and not (number and isfinite(rate) and rate > 0):
            raise ConfigError(f"rate={rate!r}: must be records a second, more than 0, or None")
        self._path = path
        self._wanted = wanted
        self._rate = rate
        self._trust = trust
        self._after = self._until = 0

    def __repr__(self) -> str:
        return f"DeadLetters({self._path!r}).replay()"

    async def __aenter__(self) -> None:
        """Open the file.

        Raises:
            StateError: somebody replays it already; or there are pickles among the records, which nobody trusts.
        """
        self._thread = ThreadPoolExecutor(1, "pipeframe-replay")
        self._letters = Letters(self._path)
        self._removed, self._again = list[int](), list[tuple[int, AnyFailure]]()  # what is to be written down
        self._written: asyncio.Future[None] | None = None  # when that is
        self._writing: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._due = asyncio.get_running_loop().time()  # when the next ones may go
        self._lock: Lock | None = None
        try:
            await self._in_thread(self._begin)
        except BaseException:
            await self._end()
            raise

    async def __aexit__(self, *error: object) -> None:
        try:
            if self._writing is not None:
                await asyncio.wait([self._writing])  # what has been answered is written down
        finally:
            await self._end()

    async def take(self, room: int) -> list[Delivery[Any]] | None:
        """The next ones, as many as there is room for and the rate allows; None behind the last.

        Cancellation: none is lost: those that were read are read again by the next run.
        """
        if self._error is not None:
            raise self._error  # what is handled can not be removed: it would be done once more
        most = min(room, MOST)
        if self._rate is not None:
            most = min(most, await self._allowed(self._rate))
        found = await self._in_thread(
            partial(self._letters.find, self._wanted, most=most, after=self._after, until=self._until)
        )
        if not found:
            return None
        self._after = found[-1].id  # nothing waits from here on
        self._due += 0.0 if self._rate is None else len(found) / self._rate
        return [self._delivery(letter) for letter in found]

    async def __aiter__(self) -> AsyncIterator[Chunk[Any]]:
        while (taken := await self.take(MOST)) is not None:
            yield Chunk(taken)

    async def _allowed(self, rate: float) -> int:
        """Wait until some may go, and say how many."""
        now = asyncio.get_running_loop().time()
        if (wait := self._due - now) > 0:
            await asyncio.sleep(wait)
        self._due = max(self._due, now - A_LOOK)  # no more in one go, after a time in which there was no room
        return max(1, int(rate * A_LOOK))

    def _begin(self) -> None:
        """In the thread."""
        if not os.path.exists(self._path):
            return
        self._lock = lock = Lock(f"{self._path}.lock")
        if not lock.mine:
            raise StateError(f"{self._path} is being replayed already, by another run or process")
        self._after, self._until = 0, self._letters.newest
        if not self._trust and (pickled := self._letters.count(self._wanted, form="pickle")):
            raise StateError(
                f"{pickled:,} of the records in {self._path} are kept as pickles, which can run any code: read them "
                "with trust=True (--trust) where nobody else can have written that file, or leave them out by a filter"
            )

    def _delivery(self, letter: Letter) -> Delivery[Any]:
        record, failure = None, None
        try:
            record = letter.record(trust=self._trust)
        except Exception as error:
            text = f"its record cannot be read: {type(error).__name__}: {text_of(error)}"
            failure = Failure(None, letter.step, "unpicklable", type(error).__name__, text)
        handles = partial(self._handled, letter.id), partial(self._failed, letter.id)
        return Delivery(record, letter.id, *handles, failure=failure)

    def _handled(self, number: int) -> Awaitable[None]:
        self._removed.append(number)
        return self._noted()

    def _failed(self, number: int, failure: AnyFailure | None) -> Awaitable[None] | None:
        if failure is None:
            return None  # it was given up: its entry is as it was
        self._again.append((number, failure))
        return self._noted()

    def _noted(self) -> Awaitable[None]:
        """When what has been said so far is in the file."""
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
            self._writing = asyncio.get_running_loop().create_task(self._write_down(self._written))
        return self._written

    async def _write_down(self, written: asyncio.Future[None]) -> None:
        """What records came to, and what comes meanwhile with it."""
        await asyncio.sleep(FLUSH)
        self._written = None  # what comes from here on is for the next one
        (removed, self._removed), (again, self._again) = (self._removed, []), (self._again, [])
        try:
            if removed or again:
                await self._in_thread(partial(self._letters.settle, removed, again))
        except Exception as error:
            self._error = error
            written.set_exception(error)
        else:
            written.set_result(None)

    async def _in_thread(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _end(self) -> None:
        """Close the file, with what waits to be written down where nobody has waited for that.

        Cancellation: the thread does so all the same.
        """
        removed, again, self._removed, self._again = self._removed, self._again, [], []
        closing = self._thread.submit(self._close, removed, again)
        self._thread.shutdown(wait=False)
        await asyncio.wait([asyncio.wrap_future(closing)])  # a cancel here would take it off a queue, if it awaited it
        closing.result()

    def _close(self, removed: list[int], again: list[tuple[int, AnyFailure]]) -> None:
        """In the thread."""
        try:
            if removed or again:
                self._letters.settle(removed, again)
        finally:
            self._letters.close()
            if self._lock is not None:
                self._lock.release()
